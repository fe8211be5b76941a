//! Defaults from configuration files: what they say becomes flags, below those of the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::flags::{Command, Flag, Id, Values};
use super::settings::{Flags, TOKEN_VARIABLE, home};
use crate::error::{Error, Result};

mod folder;
mod keys;
mod opposed;
mod text;

use keys::Key;

/// The name of the file in the working folder.
pub(super) const FOLDER_FILE: &str = "flowtap.toml";
/// Variables that win over files, and lose against flags.
pub(super) const VARIABLES: &[(Id, &str)] = &[(Id::McpToken, TOKEN_VARIABLE)];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of a file.
    File(PathBuf, usize),
    /// The command line.
    Flag,
}

/// A flag as a file or the command line gives it.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) id: Id,
    /// Empty for a switch.
    pub(super) value: OsString,
    pub(super) origin: Origin,
}

/// What a command is to be done with.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// The flags, those of files first.
    pub(super) values: Vec<Value>,
    pub(super) arguments: Vec<OsString>,
    /// The files that were looked for, and whether each was there, the weakest first.
    pub(super) files: Vec<(PathBuf, bool)>,
    /// Flags that have no effect; what files say of them is not read.
    idle: Vec<Id>,
}

/// Whose a file is, and so how far it is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// It lies in the working folder, and may have come with what somebody else made.
    Folder,
    /// The user's own.
    User,
    /// The user has named it.
    Named,
}

/// Adds what the files say for a command to the flags of its command line.
///
/// # Errors
/// When a file cannot be read or is not to be trusted, when it says what no flag is called or
/// takes, and when a file of the working folder sets what it must not.
pub(super) fn gather(command: Command, flags: Flags, arguments: Vec<OsString>) -> Result<Given> {
    if command == Command::Config {
        // It asks for another command, which reads the files.
        let given = |(id, value)| Value { id, value, origin: Origin::Flag };
        let values = flags.into_iter().map(given).collect();
        return Ok(Given { values, arguments, files: Vec::new(), idle: Vec::new() });
    }
    let has = |id: Id| command.flags().any(|flag| flag.id == id);
    let (mut sources, mut values) = (Vec::new(), Vec::new());
    if has(Id::NoConfig) {
        sources.extend(user_file().map(|path| (path, Owner::User)));
        sources.push((PathBuf::from(FOLDER_FILE), Owner::Folder));
    }
    for (id, value) in flags {
        match id {
            Id::Config if value.is_empty() => {
                return Err(Error::usage("--config needs a path"));
            }
            Id::Config => sources = vec![(PathBuf::from(value), Owner::Named)],
            Id::NoConfig => sources.clear(),
            _ => values.push(Value { id, value, origin: Origin::Flag }),
        }
    }
    let (mut levels, mut files) = (Vec::new(), Vec::new());
    for (path, owner) in sources {
        let text = text::read(&path, owner)?;
        files.push((path.clone(), text.is_some()));
        let Some(text) = text else { continue };
        let keys = keys::read(&text).map_err(|fault| fault.of(&path))?;
        if owner == Owner::Folder {
            keys.iter().try_for_each(folder::judge).map_err(|fault| fault.of(&path))?;
        }
        let mut own = levels_of(command, &path, &keys);
        for level in &own {
            let values = level.iter().flat_map(|layer| &layer.values);
            opposed::contradiction(values).map_or(Ok(()), Err)?;
        }
        // What leads out of the working folder is not for its file to say.
        if let (true, Some(home)) = (owner != Owner::Folder, home()) {
            own.iter_mut().flatten().for_each(|layer| layer.begin_at(command, &home));
        }
        levels.extend(own);
    }
    Ok(settle(command, levels, values, arguments, files))
}

/// What a command is to be done with, by the levels of files, the weakest first, and the flags and
/// arguments of the command line.
fn settle(
    command: Command,
    levels: Vec<Vec<Layer>>,
    flags: Vec<Value>,
    arguments: Vec<OsString>,
    files: Vec<(PathBuf, bool)>,
) -> Given {
    let flags = opposed::without_losers(flags);
    let values = stack(levels, flags, opposed::said_by(command, arguments.len()));
    let idle = opposed::idle(command, &values, &arguments);
    Given { values, arguments, files, idle }
}

/// The user's own file, where there is a home.
pub(super) fn user_file() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let folder = if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Application Support"))
    } else if cfg!(windows) {
        variable("APPDATA")
    } else {
        variable("XDG_CONFIG_HOME").or_else(|| home().map(|home| home.join(".config")))
    };
    folder.map(|folder| folder.join("flowtap/config.toml"))
}

/// A key of a file as it is in force for a command.
struct Layer {
    id: Id,
    values: Vec<Value>,
}

impl Layer {
    /// Puts the home folder in the place of `~` at the beginning of paths: there is no shell
    /// between a file and flowtap that does.
    fn begin_at(&mut self, command: Command, home: &Path) {
        let is_path = |flag: &Flag| matches!(flag.values, Values::Files | Values::Folders);
        if !command.flags().any(|flag| flag.id == self.id && is_path(flag)) {
            return;
        }
        for Value { value, .. } in &mut self.values {
            if let Ok(below) = Path::new(value).strip_prefix("~") {
                // Joining an empty path would add a slash.
                let is_all = below.as_os_str().is_empty();
                *value = if is_all { home.into() } else { home.join(below).into() };
            }
        }
    }
}

/// What a file says for a command: its general keys, and the stronger ones of the command's own
/// table.
fn levels_of(command: Command, path: &Path, keys: &[Key]) -> [Vec<Layer>; 2] {
    [None, Some(command)].map(|table| {
        let keys = keys.iter().filter(|key| key.command == table);
        keys.filter_map(|key| layer_of(command, path, key)).collect()
    })
}

fn layer_of(command: Command, path: &Path, key: &Key) -> Option<Layer> {
    let flag = command.flags().find(|flag| flag.long == key.name)?;
    // What another command takes by this name may be of another type.
    let words = key.words(flag).ok()?;
    let is_meant = |value: &OsString| opposed::is_meant(command, flag.id, value);
    if key.command.is_none() && !words.iter().all(|(value, _)| is_meant(value)) {
        return None;
    }
    let value = |(value, line): (OsString, usize)| {
        let origin = Origin::File(path.to_owned(), line);
        Value { id: flag.id, value, origin }
    };
    Some(Layer { id: flag.id, values: words.into_iter().map(value).collect() })
}

/// The values that are in force: of each flag those of the highest level, and of `--set` those of
/// each of its keys. `argument` is what the arguments of the command line say beside its flags.
fn stack(levels: Vec<Vec<Layer>>, flags: Vec<Value>, argument: Option<Id>) -> Vec<Value> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let by_variable = |id: Id| VARIABLES.iter().any(|(own, name)| *own == id && is_set(name));
    let mut stacked: Vec<Value> = Vec::new();
    for level in levels {
        // A switch that is off and an empty list say nothing that could exclude anything.
        let said = level.iter().filter(|layer| !layer.values.is_empty()).map(|layer| layer.id);
        take_back(&mut stacked, &said.collect::<Vec<_>>());
        for layer in level.into_iter().filter(|layer| !by_variable(layer.id)) {
            // A file in a working folder must not have intercepted what the user's own excludes.
            if layer.id != Id::Exclude {
                beat(&mut stacked, layer.id, &layer.values);
            }
            stacked.extend(layer.values);
        }
    }
    let said: Vec<_> = flags.iter().map(|value| value.id).chain(argument).collect();
    take_back(&mut stacked, &said);
    for id in said {
        let own: Vec<_> = flags.iter().filter(|value| value.id == id).cloned().collect();
        beat(&mut stacked, id, &own);
    }
    stacked.extend(flags);
    stacked
}

/// Takes out what these flags of a stronger place exclude.
fn take_back(stacked: &mut Vec<Value>, said: &[Id]) {
    stacked.retain(|below| !said.iter().any(|id| opposed::takes_back(*id, below.id)));
}

/// Takes out what a flag with these values replaces.
fn beat(stacked: &mut Vec<Value>, id: Id, values: &[Value]) {
    let key = |value: &Value| set_key(&value.value);
    stacked.retain(|below| match id {
        Id::Set if below.id == Id::Set => !values.iter().any(|value| key(value) == key(below)),
        // It sets that option.
        Id::Set if below.id == Id::Verbose => !values.iter().any(|it| key(it) == "flow_detail"),
        _ => below.id != id,
    });
}

/// The option that a value of `--set` is about.
pub(super) fn set_key(pair: &OsString) -> String {
    let pair = pair.to_string_lossy();
    pair.split('=').next().unwrap_or_default().trim().to_owned()
}

impl Given {
    /// Has settings read the flags. An error in what a file says names the file and the line.
    pub(super) fn read<T>(
        &self,
        settings: impl Fn(Flags, Vec<OsString>) -> Result<T>,
    ) -> Result<T> {
        let is_read =
            |value: &&Value| value.origin == Origin::Flag || !self.idle.contains(&value.id);
        let values: Vec<_> = self.values.iter().filter(is_read).collect();
        // Those of files stand before those of the command line.
        let of_files = values.iter().filter(|value| value.origin != Origin::Flag).count();
        let read = |kept: usize| {
            let kept = values.iter().take(kept).chain(values.iter().skip(of_files));
            let flags = kept.map(|value| (value.id, value.value.clone())).collect();
            settings(flags, self.arguments.clone())
        };
        let error = match read(of_files) {
            Err(error) if error.is_usage() => error,
            other => return other,
        };
        let words = error.to_string();
        let fails = |kept: usize| matches!(read(kept), Err(error) if error.to_string() == words);
        if fails(0) {
            return Err(error);
        }
        // It goes so with the first `bad` values and otherwise with the first `good`: in the end
        // one value makes the difference. A file may have so many that not each can be tried.
        let (mut good, mut bad) = (0, of_files);
        while bad - good > 1 {
            let middle = good.midpoint(bad);
            if fails(middle) { bad = middle } else { good = middle }
        }
        match values.get(good).map(|value| (value.id, &value.origin)) {
            Some((id, Origin::File(path, line))) => {
                let long = flag(id).map_or("", |flag| flag.long);
                let words = words.replace(&format!("--{long}"), long);
                Err(Error::usage(format!("{}:{line}: {words}", path.display())))
            }
            _ => Err(error),
        }
    }
}

/// A flag of this name, whatever command it belongs to.
fn flag(id: Id) -> Option<&'static Flag> {
    super::flags::FLAGS.iter().find(|flag| flag.id == id)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn one_value_of_thousands_is_found_in_a_few_readings() {
        let value = |(at, word)| {
            let origin = Origin::File("f.toml".into(), at + 1);
            Value { id: Id::Domain, value: OsString::from(word), origin }
        };
        let words = (0..9_999).map(|at| if at % 5_000 == 4_000 { "bad" } else { "good" });
        let values: Vec<_> = words.enumerate().map(value).collect();
        let given = Given { values, arguments: Vec::new(), files: Vec::new(), idle: Vec::new() };
        let readings = Cell::new(0);
        let error = given.read(|flags, _| {
            readings.set(readings.get() + 1);
            match flags.iter().any(|(_, word)| word == "bad") {
                true => Err(Error::usage("--domain is bad")),
                false => Ok(()),
            }
        });
        assert_eq!(error.unwrap_err().to_string(), "f.toml:4001: domain is bad");
        assert!(readings.get() < 20, "{}", readings.get());
    }

    #[test]
    fn what_the_command_line_says_is_not_blamed_on_a_file() {
        let of = |origin, word: &str| Value { id: Id::Domain, value: word.into(), origin };
        let values = vec![of(Origin::File("f.toml".into(), 1), "good"), of(Origin::Flag, "bad")];
        let given = Given { values, arguments: Vec::new(), files: Vec::new(), idle: Vec::new() };
        let error = given.read(|flags, _| match flags.last() {
            Some((_, word)) if word == "bad" => Err(Error::usage("--domain is bad")),
            _ => Ok(()),
        });
        assert_eq!(error.unwrap_err().to_string(), "--domain is bad");
    }
}

//! Completion in bash. The script needs nothing of the bash-completion package, and works with the
//! bash of macOS.

use super::{Entry, Operand, forms};
use crate::cli::flags::{Values, under};

/// The part that is the same whatever the commands are. It walks over the words before the cursor
/// as flowtap reads them.
const WALK: &str = r#"
# Sets COMPREPLY to what begins with $2, of the kind $1: files, folders, or words after "words".
_flowtap_reply() {
    local one kind=$1 begin=$2
    case $kind in
        files) kind=-f ;;
        folders) kind=-d ;;
        words*)
            while IFS= read -r one; do
                COMPREPLY+=("$one")
            done < <(compgen -W "${kind#words}" -- "$begin")
            return ;;
        *) return ;;
    esac
    # bash 3 has no compopt, and completes as if the names were words.
    compopt -o filenames 2>/dev/null
    while IFS= read -r one; do
        COMPREPLY+=("$one")
    done < <(compgen "$kind" -- "$begin")
}

# Completes the words from $1 on as a command line of their own.
_flowtap_program() {
    if ((COMP_CWORD == $1)); then
        local one
        while IFS= read -r one; do
            COMPREPLY+=("$one")
        done < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
    elif declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$1"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    else
        _flowtap_reply files "${COMP_WORDS[COMP_CWORD]}"
    fi
}

_flowtap() {
    local current=${COMP_WORDS[COMP_CWORD]} command= pending= ended= i word kind before=
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $pending ]]; then
            # bash parts --option=value into three words.
            [[ $word == = ]] && continue
            pending=
        elif [[ -n $ended || $word != -* || $word == - ]]; then
            _flowtap_command "$command" "$word" && continue
            if _flowtap_runs "$command"; then
                _flowtap_program "$i"
                return
            fi
        elif [[ $word == -- ]]; then
            if _flowtap_runs "$command"; then
                _flowtap_program "$((i + 1))"
                return
            fi
            ended=yes
        else
            _flowtap_value "$command" "$word"
            pending=$kind
        fi
    done
    if [[ -n $pending ]]; then
        [[ $current == = ]] && current=
        _flowtap_reply "$pending" "$current"
    elif [[ -z $ended && $current == --*=* ]]; then
        # Where = does not part words.
        before=${current%%=*}
        _flowtap_value "$command" "$before"
        _flowtap_reply "$kind" "${current#*=}"
        COMPREPLY=("${COMPREPLY[@]/#/$before=}")
    elif [[ -z $ended && $current == -* ]]; then
        _flowtap_options "$command"
        _flowtap_reply "words $kind" "$current"
    elif _flowtap_runs "$command"; then
        _flowtap_program "$COMP_CWORD"
    else
        _flowtap_operands "$command"
        _flowtap_reply "$kind" "$current"
    fi
}

complete -F _flowtap flowtap
"#;

/// The script.
pub(super) fn script(all: &[Entry]) -> String {
    let mut commands = String::new();
    let mut values = String::new();
    let mut options = String::from("        '') kind='-h --help -V --version' ;;\n");
    let mut operands = format!("        '') kind='words {}' ;;\n", words(&under("", all)));
    let mut runs = String::new();
    for entry in all {
        let name = entry.text.name;
        let before = name.rsplit_once(' ').map_or("", |(before, _)| before);
        commands.push_str(&format!("        '{before}/{}') command='{name}' ;;\n", entry.word()));
        let mut own = String::from("-h --help");
        for flag in &entry.flags {
            for form in forms(flag) {
                own.push_str(&format!(" {form}"));
                if !flag.value.is_empty() {
                    let kind = kind(flag.values);
                    values.push_str(&format!("        '{name} {form}') kind='{kind}' ;;\n"));
                }
            }
        }
        options.push_str(&format!("        '{name}') kind='{own}' ;;\n"));
        let subcommands = entry.subcommands(all);
        let kind = match entry.operand(all) {
            _ if !subcommands.is_empty() => format!("words {}", words(&subcommands)),
            Operand::Files => "files".to_owned(),
            Operand::Choices(words) => format!("words {}", words.join(" ")),
            Operand::Program => {
                runs.push_str(&format!("        '{name}') return 0 ;;\n"));
                continue;
            }
            Operand::Any => continue,
        };
        operands.push_str(&format!("        '{name}') kind='{kind}' ;;\n"));
    }
    format!(
        "# Completion of flowtap in bash; made by: flowtap completions bash\n\n\
         # Sets command to that of which $2 is the next word after $1.\n\
         _flowtap_command() {{\n    case \"$1/$2\" in\n{commands}        *) return 1 ;;\n    \
         esac\n}}\n\n\
         # Sets kind to what the option $2 of the command $1 takes; empty for nothing.\n\
         _flowtap_value() {{\n    kind=\n    case \"$1 $2\" in\n{values}    esac\n}}\n\n\
         # Sets kind to the options of the command $1.\n\
         _flowtap_options() {{\n    kind=\n    case \"$1\" in\n{options}    esac\n}}\n\n\
         # Sets kind to what arguments the command $1 takes.\n\
         _flowtap_operands() {{\n    kind=\n    case \"$1\" in\n{operands}    esac\n}}\n\n\
         # Whether the command $1 runs a program.\n\
         _flowtap_runs() {{\n    case \"$1\" in\n{runs}        *) return 1 ;;\n    esac\n}}\n{WALK}"
    )
}

fn words(entries: &[&Entry]) -> String {
    entries.iter().map(|entry| entry.word()).collect::<Vec<_>>().join(" ")
}

fn kind(values: Values) -> String {
    match values {
        Values::Any => "any".to_owned(),
        Values::Files => "files".to_owned(),
        Values::Folders => "folders".to_owned(),
        Values::Choices(words) => format!("words {}", words.join(" ")),
    }
}

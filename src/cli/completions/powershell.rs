//! Completion in PowerShell, by a native argument completer.

use super::{Entry, HELP, Operand, VERSION, forms, single_quoted};
use crate::cli::flags::{Values, under};

/// The part that is the same whatever the commands are. It walks over the words before the cursor
/// as flowtap reads them. What completes to nothing falls back to the names of files.
const WALK: &str = r#"
Register-ArgumentCompleter -Native -CommandName 'flowtap' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $command = ''
    $pending = $null
    $ended = $false
    $before = $commandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition }
    foreach ($element in $before) {
        $word = $element.Extent.Text
        if ($null -ne $pending) {
            $pending = $null
        } elseif (-not $ended -and $word -eq '--') {
            $ended = $true
        } elseif (-not $ended -and $word.StartsWith('-')) {
            # PowerShell's tables know no case; options do.
            $pending = $flowtapValues | Where-Object { $_[0] -ceq "$command $word" } |
                Select-Object -First 1
        } else {
            $longer = "$command $word".Trim()
            if (-not $ended -and ($flowtapCommands -ccontains $longer)) {
                $command = $longer
            } else {
                $ended = $ended -or ($flowtapPrograms -ccontains $command)
            }
        }
    }
    $found = if ($null -ne $pending) {
        $pending | Select-Object -Skip 1 | ForEach-Object {
            [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
        }
    } elseif (-not $ended) {
        $flowtapWords | Where-Object { $_[0] -ceq $command } | ForEach-Object {
            [System.Management.Automation.CompletionResult]::new($_[1], $_[1], $_[2], $_[3])
        }
    }
    $found | Where-Object { $_.CompletionText.StartsWith($wordToComplete, 'Ordinal') }
}
"#;

/// The script.
pub(super) fn script(all: &[Entry]) -> String {
    let mut script = String::from(
        "# Completion of flowtap in PowerShell; made by: flowtap completions powershell\n\n",
    );
    let names = all.iter().map(|entry| quoted(entry.text.name));
    script.push_str(&format!("$flowtapCommands = @({})\n", names.collect::<Vec<_>>().join(", ")));
    let programs = super::run_programs(all).map(|entry| quoted(entry.text.name));
    let programs = programs.collect::<Vec<_>>().join(", ");
    script.push_str(&format!("$flowtapPrograms = @({programs})\n\n"));
    script.push_str("# Each option that takes a value, with the values that are known.\n");
    script.push_str("$flowtapValues = @(\n");
    for entry in all {
        for flag in entry.flags.iter().filter(|flag| !flag.value.is_empty()) {
            let words = if let Values::Choices(words) = flag.values { words } else { &[] };
            for form in forms(flag) {
                let option = format!("{} {form}", entry.text.name);
                let row: Vec<_> =
                    [option.as_str()].iter().chain(words).map(|it| quoted(it)).collect();
                script.push_str(&format!("    , @({})\n", row.join(", ")));
            }
        }
    }
    script
        .push_str(")\n\n# What can follow each command: the word, its kind, and what it means.\n");
    script.push_str("$flowtapWords = @(\n");
    let mut row = |command: &str, word: &str, kind: &str, about: &str| {
        let cells = [command, word, kind, about].map(quoted).join(", ");
        script.push_str(&format!("    , @({cells})\n"));
    };
    for form in ["-h", "--help"] {
        row("", form, "ParameterName", HELP);
        all.iter().for_each(|entry| row(entry.text.name, form, "ParameterName", HELP));
    }
    for form in ["-V", "--version"] {
        row("", form, "ParameterName", VERSION);
    }
    for entry in under("", all) {
        row("", entry.word(), "ParameterValue", entry.text.about);
    }
    for entry in all {
        let name = entry.text.name;
        for flag in &entry.flags {
            forms(flag).for_each(|form| row(name, &form, "ParameterName", flag.about));
        }
        let subcommands = entry.subcommands(all);
        for below in &subcommands {
            row(name, below.word(), "ParameterValue", below.text.about);
        }
        if let (true, Operand::Choices(words)) = (subcommands.is_empty(), entry.operand(all)) {
            words.iter().for_each(|word| row(name, word, "ParameterValue", word));
        }
    }
    script.push_str(")\n");
    script.push_str(WALK);
    script
}

/// A word in single quotes, which are doubled inside.
fn quoted(text: &str) -> String {
    single_quoted(text, "''")
}

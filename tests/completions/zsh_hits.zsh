# Prints what zsh completes a line to. Usage: zsh zsh_hits.zsh SCRIPT LINE
#
# Completion works only where keys are typed, so a zsh on a terminal of its own gets the line and a
# tab, with a compadd that tells what it is given.
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; autoload -U compinit; compinit -u -D; source '${(q)1}
zpty -w shell 'compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
    local -a hits; builtin compadd -A hits "$@"
    (( $#hits )) && print -rl -- "HIT "$^hits
    builtin compadd "$@"
}'
zpty -w shell 'finish() { print -r -- ALL-"DONE" }; comppostfuncs=(finish); bindkey "^I" complete-word'
zpty -w shell 'print READ""Y'
while zpty -r shell line; do [[ $line == *READY* ]] && break; done
zpty -w -n shell "$2"$'\t'
while zpty -r shell line; do
    line=${${line//$'\r'}%$'\n'}
    [[ $line == *ALL-DONE* ]] && break
    [[ $line == *HIT\ * ]] && print -r -- ${line##*HIT }
done
zpty -d shell

# fish completion for fluxmq. Load it with: fluxmq completion fish | source
#
# It only asks `fluxmq complete`, which prints what could follow, one a line, with a tab and its
# meaning behind it; or `:files` or `:folders` alone.

function __fluxmq_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] complete -- $words[2..-1] $current 2>/dev/null)
    switch "$found[1]"
        case ':files'
            __fish_complete_path $current
        case ':folders'
            __fish_complete_directories $current
        case '*'
            printf '%s\n' $found
    end
end

complete -c fluxmq -f -a '(__fluxmq_complete)'

#compdef fluxmq
# zsh completion for fluxmq. Load it with: source <(fluxmq completion zsh)
#
# It only asks `fluxmq complete`, which prints what could follow, one a line, with a tab and its
# meaning behind it; or `:files` or `:folders` alone.

_fluxmq() {
  local line
  local -a found values shown
  found=("${(@f)$("${words[1]}" complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  for line in "${found[@]}"; do
    case $line in
      '') ;;
      :files) _files; return ;;
      :folders) _files -/; return ;;
      *) values+=("${line%%$'\t'*}"); shown+=("${line/$'\t'/  }") ;;
    esac
  done
  compadd -l -d shown -a values
}

if [[ ${funcstack[1]} == _fluxmq ]]; then _fluxmq "$@"; else compdef _fluxmq fluxmq; fi

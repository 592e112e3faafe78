# bash completion for fluxmq. Load it with: source <(fluxmq completion bash)
#
# It only asks `fluxmq complete`, which prints what could follow, one a line, with a tab and its
# meaning behind it; or `:files` or `:folders` alone.

_fluxmq() {
  local typed=${COMP_LINE:0:COMP_POINT} current replaced value about
  local -a words
  # Without -r: a backslash in the line is that of the shell.
  # shellcheck disable=SC2162
  read -a words <<<"$typed"
  case $typed in *[[:space:]]) words+=('') ;; esac
  current=${words[${#words[@]} - 1]}
  # Bash cuts words at = and : too, and replaces only what follows the last of them.
  replaced=
  case $COMP_WORDBREAKS in
    *[=:]*) case $current in *[=:]*) replaced=${current%"${current##*[=:]}"} ;; esac ;;
  esac
  COMPREPLY=()
  while IFS=$'\t' read -r value about; do
    case $value in
      :files) compopt -o default 2>/dev/null && return ;;
      :folders) compopt -o dirnames 2>/dev/null && return ;;
      *) COMPREPLY+=("$(printf '%q' "${value#"$replaced"}")") ;;
    esac
  done < <("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _fluxmq fluxmq

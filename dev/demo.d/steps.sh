# shellcheck shell=bash
# How the demo says what it does: one line a step, its output in a log, the end of it if it fails.
# shellcheck disable=SC2034,SC2154

step_log=$root/.local/demo/logs/demo.log

# Colours only where a person looks, and wants them.
bold='' dim='' green='' red='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

# step WHAT HOW-LONG COMMAND… runs the command. It is no subshell: what the command sets stays set.
step() {
  local what=$1 long=$2 from status=0 begin=$SECONDS
  shift 2
  mkdir -p "$logs"
  printf '%s' "${bold}$what${plain} ${dim}($long)${plain} "
  echo "--- $what: $*" >>"$step_log"
  from=$(wc -l <"$step_log")
  trap 'step_failed "$what" "$from"' EXIT
  "$@" </dev/null >>"$step_log" 2>&1
  trap - EXIT
  echo "${green}ok${plain}, $((SECONDS - begin)) s"
}

step_failed() {
  echo "${red}FAILED${plain}"
  {
    tail -n "+$(($2 + 1))" "$step_log" | tail -n 20 | sed 's/^/    /'
    echo "$1: failed. Its whole log is in ${step_log#"$root"/}; run again, the demo goes on from here."
  } >&2
}

# shellcheck shell=bash
# How the demo says what it does: one line a step, its output in a log, the end of it if it fails.
# shellcheck disable=SC2034,SC2154

step_log=$root/.local/${DEMO_NAME:-demo}/logs/demo.log

# Colours only where a person looks, and wants them.
bold='' dim='' green='' red='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

# step WHAT HOW-LONG COMMAND… runs the command. It is no subshell: what the command sets stays set.
step() {
  local begin=$SECONDS
  step_what=$1
  mkdir -p "$logs"
  printf '%s' "${bold}$1${plain} ${dim}($2)${plain} "
  shift 2
  echo "--- $step_what: $*" >>"$step_log"
  step_from=$(wc -l <"$step_log")
  # Where the command ends the script, output still goes to the log then; 3 and 4 lead past it. What goes on
  # running must not inherit them, or whoever reads our output waits for its end.
  exec 3>&1 4>&2
  trap 'step_failed >&3 2>&4' EXIT
  "$@" </dev/null >>"$step_log" 2>&1
  trap - EXIT
  exec 3>&- 4>&-
  echo "${green}ok${plain}, $((SECONDS - begin)) s"
}

step_failed() {
  echo "${red}FAILED${plain}"
  {
    tail -n "+$((step_from + 1))" "$step_log" | tail -n 20 | sed 's/^/    /'
    echo "$step_what: failed. Its whole log is in ${step_log#"$root"/}; run again, the demo goes on from here."
  } >&2
}

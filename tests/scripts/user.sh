#!/usr/bin/env bash
# What people run against the server that this daemon replaces, as they run it: the one-liners with
# wget, and the loop of the Airflow DAG. Usage: user.sh URL TAG
set -euo pipefail
base=$1 tag=$2

# busybox and GNU wget both take these options; where there is none, curl does the same.
if command -v wget >/dev/null; then
  get() { wget -qO- "$1"; }
  post() { wget --post-data="" -qO- "$1"; }
else
  get() { curl -fsS "$1"; }
  post() { curl -fsS -d "" "$1"; }
fi

fail() { echo "user.sh: $*" >&2; exit 1; }

# DAG: POST, poll the status until nothing is in progress, then the last action must be ours.
dag() { # operation path-and-query command
  local answer status action
  answer=$(post "$base$2")
  [[ $answer == *'"status":"acknowledged"'* ]] || fail "$1: not acknowledged: $answer"
  for _ in $(seq 600); do
    status=$(get "$base/backup/status")
    [[ $status == *'"status":"in progress"'* ]] || break
    sleep 0.1
  done
  [[ $status != *'"status":"in progress"'* ]] || fail "$1: still in progress: $status"
  action=$(get "$base/backup/actions?last=1")
  [[ $action == *"$3"* ]] || fail "$1: the last action is not ours: $action"
  [[ $action == *'"status":"success"'* ]] || fail "$1: no success: $action"
}

get "$base/backup/list" >/dev/null
one="manual-$tag-$(date -u +%Y-%m-%d-%H-%M-%S)"
post "$base/backup/create?name=$one&table=scripts.*" | grep -q acknowledged || fail "the one-liner was not acknowledged"
for _ in $(seq 600); do
  get "$base/backup/status" | grep -q '"status":"in progress"' || break
  sleep 0.1
done
get "$base/backup/list" | grep -q "\"name\":\"$one\"" || fail "$one is not in the list"

for round in 1 2 3; do
  name="dag-$tag-$round-$$"
  dag create "/backup/create?name=$name&table=scripts.*" "$name"
  get "$base/backup/list/local" | grep -q "\"name\":\"$name\"" || fail "$name is not in the list"
  dag restore "/backup/restore?name=$name&restore_database_mapping=scripts:scripts_${tag}_$round" "$name"
done
dag restore-path "/backup/restore/$name?rm=1&restore_database_mapping=scripts:scripts_${tag}_3" "$name"
[[ $(get "$base/health") == '{"status":"OK"}' ]] || fail "health"
[[ $(get "$base/backup/version") == '{"version":'* ]] || fail "version"

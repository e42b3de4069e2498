#!/bin/bash
# sge.sh install|start|stop|status|smoke
#   Son of Grid Engine from Debian, one host (localhost), one queue all.q with 4 slots, jobs of root allowed.
#   Once started: export SGE_ROOT=/var/lib/gridengine SGE_CELL=default
set -euo pipefail
export SGE_ROOT=/var/lib/gridengine SGE_CELL=default
SPOOL=/var/spool/gridengine
as_admin() { setpriv --reuid sgeadmin --regid sgeadmin --clear-groups "$@"; }

install() {
  dpkg -s gridengine-master gridengine-exec gridengine-client >/dev/null 2>&1 || {
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends gridengine-master gridengine-exec gridengine-client >/dev/null
  }
}

wait_for() { # tenths-of-a-second command...
  local t=$1; shift
  until "$@" >/dev/null 2>&1; do t=$((t - 1)); [ "$t" -gt 0 ] || { echo "timeout: $*" >&2; return 1; }; sleep 0.1; done
}

start() {
  install
  echo localhost >$SGE_ROOT/$SGE_CELL/common/act_qmaster
  echo "localhost $(hostname)" >$SGE_ROOT/$SGE_CELL/common/host_aliases # both names are this host
  if [ ! -e $SPOOL/spooldb/sge ]; then
    command install -d -o sgeadmin -g sgeadmin $SPOOL $SPOOL/spooldb
    as_admin /usr/share/gridengine/scripts/init_cluster $SGE_ROOT $SGE_CELL $SPOOL/spooldb sgeadmin >/dev/null
  fi
  qstat >/dev/null 2>&1 || /etc/init.d/gridengine-master start >/dev/null
  wait_for 100 as_admin qconf -sh
  as_admin qconf -am root >/dev/null 2>&1 || true
  qconf -ah localhost >/dev/null 2>&1 || true
  qconf -as localhost >/dev/null 2>&1 || true
  t=$(mktemp -d)
  qconf -sconf | sed -e '/^#/d' -e 's/^min_uid .*/min_uid 0/' -e 's/^min_gid .*/min_gid 0/' \
    -e 's/flush_time=00:00:15/flush_time=00:00:01 accounting_flush_time=00:00:00/' >"$t/global"
  qconf -Mconf "$t/global" >/dev/null 2>&1
  qconf -ssconf | sed -e 's/^schedule_interval .*/schedule_interval 0:0:1/' -e 's/^flush_submit_sec .*/flush_submit_sec 1/' \
    -e 's/^flush_finish_sec .*/flush_finish_sec 1/' >"$t/sched"
  qconf -Msconf "$t/sched" >/dev/null
  qconf -se localhost >/dev/null 2>&1 || {
    printf '%s NONE\n' load_scaling complex_values user_lists xuser_lists projects xprojects usage_scaling report_variables |
      sed '1i hostname localhost' >"$t/host"
    qconf -Ae "$t/host" >/dev/null
  }
  qconf -sp smp >/dev/null 2>&1 || {
    printf '%s\n' 'pe_name smp' 'slots 999' 'user_lists NONE' 'xuser_lists NONE' 'start_proc_args NONE' 'stop_proc_args NONE' \
      'allocation_rule $pe_slots' 'control_slaves FALSE' 'job_is_first_task TRUE' 'urgency_slots min' 'accounting_summary FALSE' \
      'qsort_args NONE' >"$t/pe"
    qconf -Ap "$t/pe" >/dev/null
  }
  qconf -sq all.q >/dev/null 2>&1 || {
    qconf -sq | sed -e 's/^qname .*/qname all.q/' -e 's/^hostlist .*/hostlist localhost/' -e 's/^slots .*/slots 4/' \
      -e 's/^load_thresholds .*/load_thresholds NONE/' -e 's/^rerun .*/rerun FALSE/' -e 's/^shell .*/shell \/bin\/sh/' \
      -e 's/^shell_start_mode .*/shell_start_mode unix_behavior/' -e 's/^pe_list .*/pe_list smp/' >"$t/queue"
    qconf -Aq "$t/queue" >/dev/null
  }
  rm -rf "$t"
  pgrep -x sge_execd >/dev/null || /etc/init.d/gridengine-exec start >/dev/null
  wait_for 150 sh -c 'qstat -f | grep -q "all.q@localhost.*lx-amd64 *$"'
}
stop() { # (the init scripts look for pid files that are elsewhere)
  qconf -ke all >/dev/null 2>&1 || true
  qconf -km >/dev/null 2>&1 || true
  wait_for 200 sh -c '! pgrep -x sge_qmaster && ! pgrep -x sge_execd'
}
smoke() {
  local o; o=$(mktemp -d); id=$(echo 'echo hello from $HOSTNAME; exit 3' | qsub -terse -N smoke -o "$o" -j y)
  wait_for 150 qacct -j "$id"; cat "$o"/smoke.o*; qacct -j "$id" | grep -E '^(failed|exit_status)'; rm -rf "$o"
}
case "${1:-}" in
  install) install ;; start) start ;; stop) stop ;; status) qhost; qstat -f ;; smoke) smoke ;;
  *) echo "usage: $0 install|start|stop|status|smoke" >&2; exit 2 ;;
esac

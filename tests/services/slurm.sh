#!/bin/bash
# slurm.sh install|start|stop|status|env|smoke
#   A private Slurm (Debian 12: 22.05.8) on 127.0.0.1, N virtual nodes on this host, run as root.
#   Everything lives under $SLURM_HOME; nothing under /etc/slurm is touched.
#   SLURM_NODES=2 (n1..nN)   SLURM_CGROUP=0|1 (1: cgroup v1 memory enforcement -> OUT_OF_MEMORY; default: 1 where cgroup v1 is mounted)
#   SLURM_DBD=0|1 (1: slurmdbd + private MariaDB -> sacct works)
set -euo pipefail
D=${SLURM_HOME:-/var/tmp/bflow-slurm}
N=${SLURM_NODES:-2}
CG=${SLURM_CGROUP:-$([ -d /sys/fs/cgroup/memory ] && [ -d /sys/fs/cgroup/freezer ] && echo 1 || echo 0)}
DBD=${SLURM_DBD:-0}
PORT=${SLURM_BASE_PORT:-17800}
export SLURM_CONF=$D/slurm.conf

running() { [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; } # pid 1 here reaps orphans up to 2 s late: kill -0 sees zombies
alive() { [ -s "$1" ] && running "$(cat "$1")"; }

install() {
  local want=(slurm-wlm munge)
  [ "$DBD" = 1 ] && want+=(slurmdbd slurm-wlm-mysql-plugin mariadb-server)
  dpkg -s "${want[@]}" >/dev/null 2>&1 && return 0
  # needs a fresh list once: apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${want[@]}" >"${TMPDIR:-/tmp}/slurm-apt.log" 2>&1 ||
    { apt-get update -q >/dev/null; DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${want[@]}" >>"${TMPDIR:-/tmp}/slurm-apt.log" 2>&1; }
}

conf() {
  mkdir -p "$D"/{state,spool,log,run}; chmod 755 "$D"
  [ -s "$D/munge.key" ] || { dd if=/dev/urandom of="$D/munge.key" bs=128 count=1 status=none; chmod 400 "$D/munge.key"; }
  local last=$((PORT + 10 + N))
  cat >"$SLURM_CONF" <<C
ClusterName=local
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$D/run/munge.sock
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd.%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd.%n.log
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=10
InactiveLimit=0
KillWait=2
MinJobAge=300
MaxArraySize=10001
EnforcePartLimits=ALL
JobRequeue=0
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
SlurmdParameters=config_overrides
JobCompType=jobcomp/filetxt
JobCompLoc=$D/log/jobcomp.txt
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
C
  if [ "$CG" = 1 ]; then
    cat >>"$SLURM_CONF" <<C
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
C
    cat >"$D/cgroup.conf" <<C
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainCores=no
ConstrainDevices=no
C
  else
    cat >>"$SLURM_CONF" <<C
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherParams=OverMemoryKill
C
  fi
  if [ "$DBD" = 1 ]; then
    cat >>"$SLURM_CONF" <<C
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((PORT + 1))
AccountingStoragePass=$D/run/munge.sock
C
    (umask 077; cat >"$D/slurmdbd.conf" <<C
AuthType=auth/munge
AuthInfo=socket=$D/run/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((PORT + 1))
SlurmUser=root
LogFile=$D/log/slurmdbd.log
PidFile=$D/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((PORT + 2))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
C
)
  else
    echo "AccountingStorageType=accounting_storage/none" >>"$SLURM_CONF"
  fi
  cat >>"$SLURM_CONF" <<C
NodeName=n[1-$N] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[$((PORT + 11))-$last] CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=200 State=UP PriorityTier=1 PreemptMode=CANCEL
PartitionName=urgent Nodes=ALL MaxTime=INFINITE DefMemPerCPU=200 State=UP PriorityTier=10 PreemptMode=OFF
C
}

wait_for() { # seconds command...
  local t=$(( $1 * 10 )); shift
  until "$@" >/dev/null 2>&1; do t=$((t - 1)); [ $t -gt 0 ] || { echo "timeout: $*" >&2; return 1; }; sleep 0.1; done
}

start_db() {
  alive "$D/run/mariadb.pid" || {
    [ -d "$D/mysql/mysql" ] || { mkdir -p "$D/mysql"; chown mysql "$D/mysql"
      mariadb-install-db --user=mysql --datadir="$D/mysql" --skip-test-db --auth-root-authentication-method=normal >"$D/log/mariadb-install.log" 2>&1; }
    mkdir -p "$D/run/my"; chown mysql "$D/run/my"
    setsid mariadbd --no-defaults --user=mysql --datadir="$D/mysql" --socket="$D/run/my/s.sock" --port=$((PORT + 2)) \
      --bind-address=127.0.0.1 --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 \
      --pid-file="$D/run/my/pid" >"$D/log/mariadb.log" 2>&1 </dev/null & echo $! >"$D/run/mariadb.pid"
    wait_for 30 mariadb-admin --no-defaults -S "$D/run/my/s.sock" -uroot ping
    mariadb --no-defaults -S "$D/run/my/s.sock" -uroot -e "create database if not exists slurm_acct_db; create or replace user slurm@'127.0.0.1' identified by 'slurm'; create or replace user slurm@localhost identified by 'slurm'; grant all on slurm_acct_db.* to slurm@'127.0.0.1'; grant all on slurm_acct_db.* to slurm@localhost"
  }
  alive "$D/run/slurmdbd.pid" || { rm -f "$D/run/slurmdbd.pid"; slurmdbd; }
  wait_for 20 sacctmgr -n -i show cluster
  sacctmgr -n show cluster format=cluster | grep -q local || sacctmgr -i -Q add cluster local >/dev/null
}

start() {
  [ -f "$SLURM_CONF" ] || true
  conf
  alive "$D/run/munged.pid" || { rm -f "$D/run/munge.sock"* ; munged --key-file="$D/munge.key" --socket="$D/run/munge.sock" \
      --pid-file="$D/run/munged.pid" --log-file="$D/log/munged.log" --seed-file="$D/run/munged.seed"; }
  [ "$DBD" = 1 ] && start_db
  alive "$D/run/slurmctld.pid" || { rm -f "$D/run/slurmctld.pid"; slurmctld -c; }
  local i
  for i in $(seq 1 "$N"); do
    alive "$D/run/slurmd.n$i.pid" || { rm -f "$D/run/slurmd.n$i.pid"; mkdir -p "$D/spool/n$i"; slurmd -N "n$i"; }
  done
  wait_for 30 bash -c "[ \$(sinfo -h -N -t idle,mix,alloc -o %N | sort -u | wc -l) = $N ]"
}

stop_pid() { # pidfile...: TERM to all, wait up to 10 s, KILL what is left (daemons remove their own pid files)
  local f p t=200 pids=()
  for f in "$@"; do p=$(cat "$f" 2>/dev/null || true); [ -n "$p" ] && kill "$p" 2>/dev/null && pids+=("$p"); done
  for p in "${pids[@]}"; do
    while running "$p"; do t=$((t - 1)); [ $t -gt 0 ] || { kill -9 "$p" 2>/dev/null; break; }; sleep 0.05; done
  done
  rm -f "$@"
}
stop() {
  [ -f "$SLURM_CONF" ] || return 0
  if alive "$D/run/slurmctld.pid"; then scancel -u root -Q 2>/dev/null || true; local t=50; while squeue -h 2>/dev/null | grep -q . && [ $t -gt 0 ]; do sleep 0.1; t=$((t-1)); done; fi
  stop_pid "$D"/run/slurmd.*.pid
  stop_pid "$D/run/slurmctld.pid"; stop_pid "$D/run/slurmdbd.pid"; stop_pid "$D/run/mariadb.pid"; stop_pid "$D/run/munged.pid"
}
status() { sinfo -N -o '%N %T %C %m'; squeue; }
smoke() {
  local o=$D/smoke; mkdir -p "$o"; local id
  id=$(sbatch --parsable -W -o "$o/%j.out" --wrap 'echo hello from $SLURMD_NODENAME; exit 7') || true
  cat "$o/$id.out"; scontrol show job "$id" | grep -E 'JobState|ExitCode'
}
case "${1:-}" in
  install) install ;; start) install; start ;; stop) stop ;; status) status ;; smoke) smoke ;;
  env) echo "export SLURM_CONF=$SLURM_CONF" ;;
  *) echo "usage: $0 install|start|stop|status|env|smoke" >&2; exit 2 ;;
esac

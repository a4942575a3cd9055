# The processes of a cluster of scripts/kafka. Sourced, never run.

# A loaded machine needs far longer than the usual 5 s.
readonly start_limit_s=120
# Brokers of a cluster that stop together can wait for a quorum that is gone; what they have acknowledged is safe in any case.
readonly stop_limit_s=20

# The descriptor that holds DIR for this process (lock_cluster).
dir_lock=""

# Prints the process id of broker N if it runs. The id alone proves nothing: after a crash it may belong to another process by now, or to
# one that is dead and waits for its parent; so the command line must name this broker's properties.
broker_pid() {
  local pid
  [[ -f "$dir/broker-$1.pid" ]] || return 1
  pid=$(<"$dir/broker-$1.pid")
  grep -qszxF -- "$dir/broker-$1.properties" "/proc/$pid/cmdline" || return 1
  echo "$pid"
}

# Prints the numbers of the brokers that run.
running_brokers() {
  local n
  for (( n = 1; n <= brokers; n++ )); do
    if broker_pid "$n" >/dev/null; then echo "$n"; fi
  done
}

# Prints the numbers of those that do not.
missing_brokers() {
  local n
  for (( n = 1; n <= brokers; n++ )); do
    broker_pid "$n" >/dev/null || echo "$n"
  done
}

# check_ports N: of a broker that does not run.
check_ports() {
  local port
  local -a ports=("${client_ports[$1]}" "${controller_ports[$1]}")
  [[ "$secure" == no ]] || ports+=("${secure_ports[$1]}")
  for port in "${ports[@]}"; do
    port_taken "$port" || continue
    [[ "$port" != "${client_ports[$1]}" ]] || die "port $port is taken; give another with --port"
    die "port $port, which broker $1 needs beside ${client_ports[$1]}, is taken; give another with --port"
  done
}

broker_properties() {
  local n=$1 i voters="" listeners copies in_sync
  for (( i = 1; i <= brokers; i++ )); do
    voters+=",$i@127.0.0.1:${controller_ports[i]}"
  done
  listeners="PLAINTEXT://127.0.0.1:${client_ports[n]}"
  if [[ "$secure" == yes ]]; then
    listeners+=",SECURE://127.0.0.1:${secure_ports[n]}"
  fi
  # Three copies of which two must be there, as in production; one of everything where there are fewer than three brokers.
  copies=$(( brokers >= 3 ? 3 : 1 ))
  in_sync=$(( brokers >= 3 ? 2 : 1 ))
  cat "$root/scripts/lib/kafka/server.properties"
  cat <<END

node.id=$n
log.dirs=$dir/broker-$n
controller.quorum.voters=${voters#,}
listeners=$listeners,CONTROLLER://127.0.0.1:${controller_ports[n]}
advertised.listeners=$listeners
default.replication.factor=$copies
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$copies
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$in_sync
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$in_sync
END
  [[ "$secure" == no ]] || secure_properties
  [[ ! -f "$dir/extra.properties" ]] || cat "$dir/extra.properties"
}

# Writes the properties of every broker, in force from its next start.
write_properties() {
  local n
  for (( n = 1; n <= brokers; n++ )); do
    broker_properties "$n" >"$dir/broker-$n.properties"
  done
  if [[ "$secure" == yes ]]; then
    make_certificates
    write_client_properties admin "$dir/client.properties"
    write_client_properties millpond "$dir/millpond.properties"
  fi
}

# A data directory without the mark is what an interrupted format left behind.
format_broker() {
  local n=$1
  local -a users=()
  [[ -f "$dir/broker-$n.formatted" ]] && return
  rm -rf "$dir/broker-$n"
  if [[ "$secure" == yes ]]; then
    mapfile -t users < <(scram_arguments)
  fi
  "${java_tool[@]}" kafka.tools.StorageTool format -t "$cluster_id" -c "$dir/broker-$n.properties" "${users[@]}" \
    </dev/null >"$dir/broker-$n.log" 2>&1 || die "Kafka could not format the data directory of broker $n:
$(<"$dir/broker-$n.log")"
  touch "$dir/broker-$n.formatted"
}

format_brokers() {
  local n pid
  local -a formats=()
  for (( n = 1; n <= brokers; n++ )); do
    format_broker "$n" &
    formats+=("$!")
  done
  for pid in "${formats[@]}"; do
    wait "$pid" || exit 1
  done
}

# Starts the process of broker N, away from this terminal and this script's locks.
launch() {
  local n=$1
  # Without the second compiler a start takes little more than half the time, and for the first minutes a broker is faster too.
  # Words are split: that is how Kafka's own scripts read these two.
  # shellcheck disable=SC2086
  setsid nohup "$(java_command)" ${KAFKA_HEAP_OPTS:--Xmx512m} -XX:TieredStopAtLevel=1 ${KAFKA_OPTS:-} \
    "-Dlog4j2.configurationFile=$root/scripts/lib/kafka/log4j2.properties" -cp "$jars/*" kafka.Kafka "$dir/broker-$n.properties" \
    </dev/null >>"$dir/broker-$n.log" 2>&1 {dir_lock}<&- &
  launching+=("$!")
  echo "$!" >"$dir/broker-$n.pid"
  # Else bash would report its end among this script's messages.
  disown
}

# start_brokers N...: starts them and waits until all answer. Whatever goes wrong, none of them is left behind.
start_brokers() {
  local n deadline=$((SECONDS + start_limit_s))
  local -a log_sizes=() pids=()
  for n in "$@"; do
    check_ports "$n"
  done
  for n in "$@"; do
    touch "$dir/broker-$n.log"
    log_sizes[n]=$(wc -c <"$dir/broker-$n.log")
    launch "$n"
    pids[n]=$!
  done
  for n in "$@"; do
    until answers "$n" "${log_sizes[n]}"; do
      kill -0 "${pids[n]}" 2>/dev/null || die "broker $n ended while it started; the end of $dir/broker-$n.log:
$(tail -n 15 "$dir/broker-$n.log")"
      (( SECONDS < deadline )) || die "broker $n did not answer within $start_limit_s s; the end of $dir/broker-$n.log:
$(tail -n 15 "$dir/broker-$n.log")"
      sleep 0.1
    done
  done
  launching=()
}

# The processes that start_brokers waits for.
launching=()
abandon_launching() {
  (( ${#launching[@]} == 0 )) || kill -KILL "${launching[@]}" 2>/dev/null || true
}

# answers N LOG_SIZE: Kafka says it is started when the controllers count it among the brokers that serve; before that the port is
# open, too, but topics cannot be placed on it. LOG_SIZE is where the log of this start begins.
answers() {
  grep -q 'Kafka Server started' < <(tail -c "+$(($2 + 1))" "$dir/broker-$1.log") && port_taken "${client_ports[$1]}"
}

# kill_broker N: fails if it does not run.
kill_broker() {
  local pid
  pid=$(broker_pid "$1") || return 1
  kill -KILL "$pid" 2>/dev/null || true
  while broker_pid "$1" >/dev/null; do
    sleep 0.05
  done
  rm -f "$dir/broker-$1.pid"
}

# stop_brokers N...
stop_brokers() {
  local n pid limit_s=$stop_limit_s deadline
  # Without a quorum a broker cannot hand over its partitions, and would wait for that in vain.
  (( 2 * $(running_brokers | wc -l) > brokers )) || limit_s=2
  deadline=$((SECONDS + limit_s))
  for n in "$@"; do
    if pid=$(broker_pid "$n"); then
      kill -TERM "$pid" 2>/dev/null || true
    fi
  done
  for n in "$@"; do
    while broker_pid "$n" >/dev/null; do
      if (( SECONDS >= deadline )); then
        say "broker $n did not stop within $limit_s s: killing it"
        kill_broker "$n" || true
        break
      fi
      sleep 0.1
    done
    rm -f "$dir/broker-$n.pid"
  done
}

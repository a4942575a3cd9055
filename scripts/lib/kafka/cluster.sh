# What a cluster of scripts/kafka is: its size, its ports, its files. Sourced, never run.
#
#   DIR/cluster               size, ports, id: written once, read by every command
#   DIR/extra.properties      what --property gave
#   DIR/broker-N/             data                 DIR/broker-N.formatted    the data directory is whole
#   DIR/broker-N.properties   written at start     DIR/broker-N.log, .pid

dir=""
cluster_id=""
brokers=1
secure=no
# What --port said; 0 means that the ports below were chosen.
port=9092
# By the broker's number, from 1.
client_ports=()
controller_ports=()
secure_ports=()

cluster_exists() { [[ -f "$dir/cluster" ]]; }

save_cluster() {
  cat >"$dir/cluster.partial" <<END
cluster_id=$cluster_id
brokers=$brokers
secure=$secure
port=$port
client_ports=${client_ports[*]}
controller_ports=${controller_ports[*]}
secure_ports=${secure_ports[*]}
END
  mv "$dir/cluster.partial" "$dir/cluster"
}

load_cluster() {
  local key value
  cluster_exists || die "there is no cluster in $dir; make one with: scripts/kafka start --dir $dir"
  while IFS='=' read -r key value; do
    case "$key" in
      cluster_id) cluster_id=$value ;;
      brokers) brokers=$value ;;
      secure) secure=$value ;;
      port) port=$value ;;
      # The 0 stands in the place of a broker 0, which there is not.
      client_ports) read -ra client_ports <<<"0 $value" ;;
      controller_ports) read -ra controller_ports <<<"0 $value" ;;
      secure_ports) read -ra secure_ports <<<"0 $value" ;;
    esac
  done <"$dir/cluster"
  unset 'client_ports[0]' 'controller_ports[0]' 'secure_ports[0]'
}

# A UUID in Kafka's base64: 22 characters, of which the last has only two bits.
new_cluster_id() {
  local characters
  characters=$(head -c 256 /dev/urandom | base64 | tr -dc 'A-Za-z0-9')
  echo "${characters:0:21}A"
}

# Whether anything listens there. The descriptor lives in the subshell only.
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

derive_ports() {
  local n
  for (( n = 1; n <= brokers; n++ )); do
    client_ports[n]=$((port + n - 1))
    controller_ports[n]=$((port + 100 + n - 1))
    secure_ports[n]=$((port + 200 + n - 1))
  done
}

# Ports for --port 0. A cluster keeps its ports while it is stopped, and between choosing and listening lie seconds; so the choices
# of all clusters stand in one file, and a line counts as long as its cluster says the same. The ports are below those that Linux
# gives to outgoing connections.
choose_ports() {
  local registry="$cache/kafka-ports" candidate owner n held
  local -A taken=()
  local -a free=()
  mkdir -p "$cache"
  lock held "$cache"
  touch "$registry"
  : >"$registry.partial"
  while read -r candidate owner; do
    if [[ "$owner" != "$dir" ]] && grep -qsE "_ports=(.* )?$candidate( |\$)" "$owner/cluster"; then
      taken[$candidate]=yes
      echo "$candidate $owner" >>"$registry.partial"
    fi
  done <"$registry"
  while (( ${#free[@]} < 3 * brokers )); do
    candidate=$((10000 + RANDOM % 20000))
    [[ -n "${taken[$candidate]:-}" ]] && continue
    port_taken "$candidate" && continue
    taken[$candidate]=yes
    free+=("$candidate")
    echo "$candidate $dir" >>"$registry.partial"
  done
  for (( n = 1; n <= brokers; n++ )); do
    client_ports[n]=${free[3 * n - 3]}
    controller_ports[n]=${free[3 * n - 2]}
    secure_ports[n]=${free[3 * n - 1]}
  done
  save_cluster
  mv "$registry.partial" "$registry"
  unlock "$held"
}

# add_properties KEY=VALUE...: a later value for a key replaces the earlier one.
add_properties() {
  local property
  touch "$dir/extra.properties"
  for property in "$@"; do
    awk -v key="${property%%=*}" 'index($0, key "=") != 1' "$dir/extra.properties" >"$dir/extra.properties.partial"
    printf '%s\n' "$property" >>"$dir/extra.properties.partial"
    mv "$dir/extra.properties.partial" "$dir/extra.properties"
  done
}

# addresses PORT...: 127.0.0.1:PORT,…
addresses() {
  local list
  list=$(printf '127.0.0.1:%s,' "$@")
  echo "${list%,}"
}

bootstrap() { addresses "${client_ports[@]}"; }

secure_bootstrap() {
  [[ "$secure" == yes ]] || die "the cluster in $dir has no secure listener; make one with: scripts/kafka start --secure"
  addresses "${secure_ports[@]}"
}

# Java and Kafka's jars for scripts/kafka. Sourced, never run; setup.sh comes before it.

readonly kafka_version=4.2.0
readonly java_min=17
readonly cache="${XDG_CACHE_HOME:-$HOME/.cache}/millpond"
readonly jars="$cache/kafka-$kafka_version/lib"

# lock VARIABLE DIRECTORY: waits until no other process has it. The variable gets the descriptor, which is for unlock.
lock() {
  local descriptor
  exec {descriptor}<"$2"
  printf -v "$1" '%s' "$descriptor"
  flock -n "$descriptor" && return
  say "waiting for another scripts/kafka that works on $2"
  flock "$descriptor"
}

# unlock DESCRIPTOR
unlock() {
  local descriptor=$1
  exec {descriptor}<&-
}

java_command() {
  if [[ -n "${JAVA_HOME:-}" && -x "$JAVA_HOME/bin/java" ]]; then
    echo "$JAVA_HOME/bin/java"
  else
    echo java
  fi
}

java_ok() {
  local found
  command -v "$(java_command)" >/dev/null || return 1
  found=$("$(java_command)" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
  [[ -n "$found" ]] && (( found >= java_min ))
}

# The default JRE of older distributions is too old, and newer ones have no 17 any more.
jre_package() {
  if [[ -n "$(apt-cache show "openjdk-$java_min-jre-headless" 2>/dev/null)" ]]; then
    echo "openjdk-$java_min-jre-headless"
  else
    echo default-jre-headless
  fi
}

kafka_missing_packages() {
  java_ok || jre_package
  [[ -d "$jars" ]] || command -v mvn >/dev/null || echo maven
  command -v openssl >/dev/null || echo openssl
}

ensure_kafka_tools() {
  local -a missing=()
  mapfile -t missing < <(kafka_missing_packages)
  (( ${#missing[@]} > 0 )) || return 0
  command -v apt-get >/dev/null || die "these are missing (Debian's names): ${missing[*]}. Install them and start again."
  if (( EUID != 0 )); then
    die "these packages are missing: ${missing[*]}
Install them and start again:  sudo apt-get update && sudo apt-get install -y ${missing[*]}"
  fi
  # A machine on which apt-get update never ran knows no packages, so the choice of the JRE is made again after it.
  apt-get update -qq >&2 || die "apt-get update failed: is this machine online?"
  mapfile -t missing < <(kafka_missing_packages)
  apt_install ca-certificates "${missing[@]}"
  hash -r
  java_ok || die "Kafka $kafka_version needs Java $java_min or newer, and $(java_command) is none.
Set JAVA_HOME to one that is, or unset it for the one in PATH, and start again."
}

# The jars come into a directory of another name, so that an interrupted download is never taken for a whole one.
fetch_jars() {
  local partial="$jars.partial" started=$SECONDS
  say "fetching Kafka $kafka_version with Maven (55 MB, once; under a minute)"
  rm -rf "$partial"
  mvn -q -B -Dstyle.color=never -f "$root/scripts/lib/kafka/pom.xml" \
    dependency:copy-dependencies -DoutputDirectory="$partial" </dev/null >&2 ||
    die "Maven could not fetch Kafka: its messages are above. Is this machine online?"
  mv "$partial" "$jars"
  say "fetched in $((SECONDS - started)) s"
}

# Sees to it that java and the jars are there. One process at a time; all clones on a machine share the jars.
ensure_kafka() {
  if [[ -d "$jars" ]] && java_ok && command -v openssl >/dev/null; then
    return
  fi
  local held
  mkdir -p "${jars%/*}"
  lock held "${jars%/*}"
  ensure_kafka_tools
  [[ -d "$jars" ]] || fetch_jars
  unlock "$held"
}

# Sets java_tool to the beginning of a command line for a program that runs for a second or two: the second compiler and
# parallel collection would cost more than they bring.
set_java_tool() {
  java_tool=("$(java_command)" -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dmillpond.log.level=WARN
    "-Dlog4j2.configurationFile=$root/scripts/lib/kafka/log4j2.properties" -cp "$jars/*")
}

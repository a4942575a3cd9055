# The certificates, users and client files of the secure listener of scripts/kafka. Sourced, never run.

readonly mechanisms="SCRAM-SHA-256 SCRAM-SHA-512 PLAIN OAUTHBEARER"
# Known to everyone, as is the private key of the CA: this guards nothing and must never serve anything but tests.
readonly -A passwords=([admin]=admin-secret [millpond]=millpond-secret)

# An EC key, because making an RSA key can take a second.
make_certificates() {
  local config="$root/scripts/lib/kafka/openssl.cnf" work
  [[ -f "$dir/server.pem" ]] && return
  work="$dir/certificates.partial"
  rm -rf "$work"
  mkdir "$work"
  {
    openssl req -x509 -config "$config" -extensions ca -days 3650 -subj "/CN=millpond test CA" -nodes \
      -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -keyout "$work/ca.key" -out "$work/ca.pem"
    openssl req -new -config "$config" -subj "/CN=localhost" -nodes \
      -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -keyout "$work/server.key" -out "$work/server.csr"
    openssl x509 -req -in "$work/server.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -set_serial "0x$(openssl rand -hex 8)" \
      -days 3650 -extfile "$config" -extensions server -out "$work/server.crt"
  } >"$work/log" 2>&1 || die "openssl could not make the certificates:
$(<"$work/log")"
  mv "$work/ca.pem" "$work/ca.key" "$dir"
  # server.pem comes last: where it is, the others are.
  cat "$work/server.key" "$work/server.crt" >"$dir/server.pem"
  rm -rf "$work"
}

# write_client_properties USER FILE: for Java clients.
write_client_properties() {
  cat >"$2" <<END
# Made by scripts/kafka: the secure listener as user $1.
security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location=$dir/ca.pem
sasl.mechanism=SCRAM-SHA-256
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="$1" password="${passwords[$1]}";
END
}

# One line for each argument that the storage tool needs to make the SCRAM users.
scram_arguments() {
  local user mechanism
  for user in "${!passwords[@]}"; do
    for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do
      printf '%s\n' --add-scram "$mechanism=[name=$user,password=${passwords[$user]}]"
    done
  done
}

# The secure listener's part of a broker's properties. PLAIN has its users in the properties, SCRAM in the cluster's metadata.
# Of OAUTHBEARER's tokens the signature is not looked at: whoever brings one is who it says.
secure_properties() {
  local scram=org.apache.kafka.common.security.scram.ScramLoginModule user plain=""
  for user in "${!passwords[@]}"; do
    plain+=" user_$user=\"${passwords[$user]}\""
  done
  cat <<END
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
# The brokers among themselves, and tests that administrate, come through the plaintext listeners without a name.
super.users=User:ANONYMOUS;User:admin
listener.name.secure.sasl.enabled.mechanisms=${mechanisms// /,}
listener.name.secure.scram-sha-256.sasl.jaas.config=$scram required;
listener.name.secure.scram-sha-512.sasl.jaas.config=$scram required;
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required$plain;
listener.name.secure.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location=$dir/server.pem
END
}

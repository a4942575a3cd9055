//! A broker that wants TLS, a password (SCRAM) or a token (OAUTHBEARER), and rights.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use millpond_log::opaque::{Record, batch};
use millpond_log::{Append, Entry, Error, FetchLimit, Log, TopicConfig, TopicPartition, Transaction};
use millpond_log_kafka::{KafkaLog, Options};
use millpond_membership::Group;
use millpond_sqltest::kafka::{directory, script, start};

/// Brokers in a directory of their own, stopped and forgotten in the end.
struct Secure {
    directory: std::path::PathBuf,
}

impl Secure {
    fn start() -> Secure {
        let directory = directory("kafka-secure").unwrap();
        start(&directory, &["--secure"]).unwrap();
        Secure { directory }
    }

    fn script(&self, command: &str, arguments: &[&str]) -> String {
        let output = Command::new(script()).arg(command).arg("--dir").arg(&self.directory).args(arguments).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn options(&self, password: &str) -> Options {
        self.options_with(&[("sasl.mechanism", "SCRAM-SHA-256"), ("sasl.username", "millpond"), ("sasl.password", password)])
    }

    fn options_with(&self, sasl: &[(&str, &str)]) -> Options {
        let ca = Path::new(&self.directory).join("ca.pem").display().to_string();
        let properties = [&[("security.protocol", "SASL_SSL"), ("ssl.ca.location", &ca)], sasl].concat();
        Options {
            properties: properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            timeout: std::time::Duration::from_secs(5),
            ..Options::new(self.script("bootstrap", &["--secure"]), "test")
        }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = Command::new(script()).arg("reset").arg("--dir").arg(&self.directory).status();
    }
}

/// `{"alg":"none"}` and `{"sub":"millpond","iat":1700000000,"exp":4102444800}`: the broker of the tests takes tokens without a signature.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtaWxscG9uZCIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.";

/// Where clients get their token: gives its address, and goes on until the test is over.
fn give_tokens() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/token", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            // The request is one packet; what it says does not matter.
            let _ = connection.read(&mut [0; 8_192]).unwrap();
            let body = format!("{{\"access_token\":\"{TOKEN}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}");
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            connection.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn tls_sasl_and_rights() {
    let secure = Secure::start();
    let wrong = KafkaLog::connect(secure.options("wrong")).unwrap_err().to_string();
    assert!(wrong.contains("uthentication") && !wrong.contains("\"wrong\""), "{wrong}");

    let admin = KafkaLog::connect(Options::new(secure.script("bootstrap", &[]), "admin")).unwrap();
    for topic in ["allowed", "forbidden"] {
        admin.create_topic(topic, &TopicConfig::keep(1)).unwrap();
    }
    let allow = |rights: &[&str]| secure.script("tool", &[&["acls", "--add", "--allow-principal", "User:millpond"], rights].concat());
    allow(&["--operation", "All", "--topic", "allowed"]);
    allow(&["--operation", "All", "--topic", "_millpond-", "--resource-pattern-type", "prefixed"]);
    allow(&["--operation", "All", "--transactional-id", "test-", "--resource-pattern-type", "prefixed"]);

    let log = Arc::new(KafkaLog::connect(secure.options("millpond-secret")).unwrap());
    let to = |topic: &str| {
        let record = Record { key: None, value: Some(b"v"), timestamp_ms: 1, headers: &[] };
        let append = Append { target: TopicPartition::new(topic, 0), entry: Entry::opaque(batch([record])) };
        log.append(Transaction { appends: vec![append] })
    };
    to("allowed").unwrap();
    let fetch = log.fetch(&TopicPartition::new("allowed", 0), 0, FetchLimit::NONE).unwrap();
    assert_eq!(fetch.entries.len(), 1);
    for refused in [to("forbidden").map(drop), log.fetch(&TopicPartition::new("forbidden", 0), 0, FetchLimit::NONE).map(drop)] {
        let refused = refused.unwrap_err();
        assert!(matches!(&refused, Error::Refused { topic: Some(topic), .. } if topic == "forbidden"), "{refused}");
    }
    to("allowed").unwrap();

    let refused = KafkaLog::join(secure.options("millpond-secret")).unwrap_err();
    assert!(matches!(&refused, Error::Refused { reason, .. } if reason.contains("roup")), "{refused}");
    allow(&["--operation", "Read", "--group", "millpond-test-", "--resource-pattern-type", "prefixed"]);
    let (_log, group) = KafkaLog::join(secure.options("millpond-secret")).unwrap();
    assert!(group.membership().leads && group.members().unwrap().len() == 1);

    let tokens = give_tokens();
    let oidc = [
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.client.id", "millpond"),
        ("sasl.oauthbearer.client.secret", "hush"),
        ("sasl.oauthbearer.token.endpoint.url", &tokens),
    ];
    let log = KafkaLog::connect(secure.options_with(&oidc)).unwrap();
    let fetch = log.fetch(&TopicPartition::new("allowed", 0), 0, FetchLimit::NONE).unwrap();
    assert!(!fetch.entries.is_empty());
    let refused = log.fetch(&TopicPartition::new("forbidden", 0), 0, FetchLimit::NONE).unwrap_err();
    assert!(matches!(&refused, Error::Refused { topic: Some(topic), .. } if topic == "forbidden"), "{refused}");
}

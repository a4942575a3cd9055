//! What this process is called among those of its service, and where they find it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// Names the process in the data directory.
const FILE: &str = "instance";

/// Whether the data directory has one: only those of processes over Kafka have.
pub fn has_name(data_dir: &Path) -> bool {
    data_dir.join(FILE).exists()
}

/// Forgets and gives the name that the data directory has.
pub fn take(data_dir: &Path) -> Result<Option<String>> {
    if !has_name(data_dir) {
        return Ok(None);
    }
    let path = data_dir.join(FILE);
    let name = name(data_dir)?;
    std::fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))?;
    Ok(Some(name))
}

/// The name is this one from now on.
pub fn set(data_dir: &Path, name: &str) -> Result<()> {
    let path = data_dir.join(FILE);
    std::fs::write(&path, name).with_context(|| format!("cannot write {}", path.display()))
}

/// The name that the data directory has, or from now on has.
pub fn name(data_dir: &Path) -> Result<String> {
    let path = data_dir.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Ok(_) => bail!("{} is empty: delete it", path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("{:x}-{:x}", since.as_nanos(), std::process::id());
    set(data_dir, &name)?;
    Ok(name)
}

/// Where others reach what listens at `listening`: at that address, or, if that is every address of this machine, at the one by which it reaches Kafka.
pub fn address(listening: SocketAddr, bootstrap: &str) -> Result<String> {
    if !listening.ip().is_unspecified() {
        return Ok(listening.to_string());
    }
    let broker = bootstrap.split(',').next().unwrap_or(bootstrap).trim();
    // Nothing is sent: the system says which of its addresses it would send from.
    let reached = UdpSocket::bind((listening.ip(), 0)).and_then(|socket| {
        socket.connect(broker)?;
        socket.local_addr()
    });
    let reached =
        reached.with_context(|| format!("it is not clear how others reach this process ({broker} is not found): say --advertise"))?;
    Ok(SocketAddr::new(reached.ip(), listening.port()).to_string())
}

/// Whether only this machine finds what is at `address`, or at the first of several.
pub fn is_local(address: &str) -> bool {
    let first = address.split(',').next().unwrap_or(address).trim();
    let host = first.rsplit_once(':').map_or(first, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_only_are_known() {
        for (address, local) in [("127.0.0.1:6455", true), ("[::1]:1", true), ("localhost:9092,b:9092", true), ("10.1.2.3:6455", false)] {
            assert_eq!(is_local(address), local, "{address}");
        }
    }

    #[test]
    fn a_directory_keeps_its_name() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let named = name(one.path()).unwrap();
        assert_eq!(name(one.path()).unwrap(), named);
        assert_ne!(name(other.path()).unwrap(), named);
    }

    #[test]
    fn an_address_that_is_all_addresses_becomes_one() {
        assert_eq!(address("10.1.2.3:6455".parse().unwrap(), "localhost:1").unwrap(), "10.1.2.3:6455");
        assert_eq!(address("0.0.0.0:6455".parse().unwrap(), "127.0.0.1:9092,other:9092").unwrap(), "127.0.0.1:6455");
        assert!(address("0.0.0.0:6455".parse().unwrap(), "no such host").is_err());
    }
}

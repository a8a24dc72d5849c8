use std::{
    env, fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{
    ServerError,
    single::{Ours, Server, Single, free_port},
};

/// The environment variable that names the script, if it is not where packages put it.
const NAMED: &str = "GESTA_RABBITMQ_SERVER";
/// Where packages put the script that becomes the server, and asks for no other account.
const PACKAGED: [&str; 3] = [
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
];
const ADVICE: &str = "no RabbitMQ here: install the package `rabbitmq-server`, or name its script \
                      in GESTA_RABBITMQ_SERVER";

/// A RabbitMQ server of a test's own, without plugins, in a temporary folder and on free
/// ports of 127.0.0.1. What it has confirmed is there again after a kill and a restart.
///
/// It is killed when it is dropped. Every method blocks; to start takes seconds.
///
/// ```no_run
/// use es_testkit::servers::PrivateRabbit;
///
/// let mut rabbit = PrivateRabbit::start()?;
/// println!("it answers at {}", rabbit.url());
/// rabbit.kill()?;
/// rabbit.restart()?; // the same port and the same queues
/// # Ok::<(), es_testkit::servers::ServerError>(())
/// ```
#[derive(Debug)]
pub struct PrivateRabbit {
    single: Single,
    _names: Names,
}

/// What tells nodes where others are: one of this server's own, so that it meets no other.
#[derive(Debug)]
struct Names {
    daemon: Child,
    port: u16,
}

impl PrivateRabbit {
    /// Starts one: the script that `GESTA_RABBITMQ_SERVER` names, or else that of a package.
    ///
    /// # Errors
    ///
    /// [`ServerError::Unsupported`] if there is none.
    pub fn start() -> Result<Self, ServerError> {
        let script = script().ok_or_else(|| ServerError::Unsupported(ADVICE.into()))?;
        let names = Names::start()?;
        // It becomes the script, which becomes the server.
        let server = Server { program: "env".into(), advice: ADVICE, answers: is_ours };
        let single = Single::start(server, |port, folder| {
            fs::write(folder.join("plugins"), "[].")?;
            fs::write(folder.join("environment"), "")?;
            let nodes = free_port()?;
            let set = variables(port, nodes, names.port, folder);
            let set = set.into_iter().map(|(name, value)| format!("{name}={value}").into());
            Ok(set.chain([script.clone().into_os_string()]).collect())
        });
        Ok(Self { single: single?, _names: names })
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.single.address())
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.single.port()
    }

    /// Kills it, as by `kill -9`.
    ///
    /// # Errors
    ///
    /// [`ServerError::Io`] if the machine does not let it.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        self.single.kill()
    }

    /// Starts it again if it does not run, and returns when it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it does not come up.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.single.restart()
    }
}

impl Names {
    fn start() -> Result<Self, ServerError> {
        let port = free_port()?;
        let mut daemon = Command::new("epmd");
        daemon.args(["-address", "127.0.0.1", "-port", &port.to_string()]);
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = daemon.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ServerError::Unsupported(ADVICE.into()),
            _ => error.into(),
        })?;
        Ok(Self { daemon, port })
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // Nothing can be done about it here.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn variables(port: &str, nodes: u16, names: u16, folder: &Path) -> Vec<(&'static str, String)> {
    let inside = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let only_here = "-noinput -kernel inet_dist_use_interface {127,0,0,1}";
    vec![
        ("HOME", inside("")),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        ("ERL_EPMD_PORT", names.to_string()),
        ("RABBITMQ_NODENAME", format!("{}@localhost", name(port))),
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".into()),
        ("RABBITMQ_NODE_PORT", port.into()),
        ("RABBITMQ_DIST_PORT", nodes.to_string()),
        ("RABBITMQ_MNESIA_BASE", inside("data")),
        ("RABBITMQ_LOG_BASE", inside("log")),
        ("RABBITMQ_PID_FILE", inside("pid")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", inside("plugins")),
        ("RABBITMQ_PLUGINS_EXPAND_DIR", inside("expanded")),
        ("RABBITMQ_CONF_ENV_FILE", inside("environment")),
        ("RABBITMQ_CONFIG_FILE", inside("none")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", inside("none-either")),
        // Without it the script stays, and a kill would reach it alone.
        ("RABBITMQ_ALLOW_INPUT", "1".into()),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", only_here.into()),
    ]
}

/// What nobody else has on this machine, as it is told from the others by its port.
fn name(port: &str) -> String {
    format!("gesta{port}")
}

fn script() -> Option<PathBuf> {
    let named = env::var_os(NAMED).map(PathBuf::from);
    named.into_iter().chain(PACKAGED.map(PathBuf::from)).find(|script| script.exists())
}

fn is_ours(address: SocketAddr, _: Ours<'_>) -> bool {
    let name = format!("{}@", name(&address.port().to_string()));
    greeting(address).is_ok_and(|said| said.windows(name.len()).any(|part| part == name.as_bytes()))
}

/// Whether a RabbitMQ server answers there.
///
/// ```
/// assert!(!es_testkit::servers::rabbitmq_answers(([127, 0, 0, 1], 1).into()));
/// ```
pub fn rabbitmq_answers(address: SocketAddr) -> bool {
    greeting(address).is_ok_and(|said| said.windows(8).any(|part| part == b"RabbitMQ"))
}

/// What it says of itself.
fn greeting(address: SocketAddr) -> io::Result<Vec<u8>> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"AMQP\x00\x00\x09\x01")?;
    // The kind of a frame, its channel, and how long it is.
    let mut head = [0; 7];
    stream.read_exact(&mut head)?;
    let bytes = u32::from_be_bytes([head[3], head[4], head[5], head[6]]).min(64 * 1_024);
    let mut said = vec![0; usize::try_from(bytes).unwrap_or_default()];
    stream.read_exact(&mut said)?;
    Ok(said)
}

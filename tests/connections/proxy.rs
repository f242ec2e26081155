//! A proxy that tunnels, asks for credentials and remembers who came.

use std::sync::{Arc, Mutex};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A proxy, gone when the test is over.
pub(super) struct Proxy {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// A proxy that lets in whoever shows `name:password`; `None` is everybody.
    pub(super) async fn start(credentials: Option<&str>) -> Self {
        Self::leading_to(None, credentials).await
    }

    /// The same, but whatever name is asked for, it leads to this address.
    pub(super) async fn leading_to(address: Option<String>, credentials: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let wanted = credentials.map(|credentials| format!("Basic {}", BASE64_STANDARD.encode(credentials)));
        let serving = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, address.clone(), wanted.clone(), Arc::clone(&seen)));
                }
            }
        });
        Self { port, seen, serving }
    }

    /// `host:port` of each CONNECT, with ` refused` where the credentials were not right.
    pub(super) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().expect("no tunnel panicked"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(client: TcpStream, address: Option<String>, wanted: Option<String>, seen: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut client = BufReader::new(client);
    let mut line = String::new();
    client.read_line(&mut line).await.ok()?;
    let target = line.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    let mut shown = None;
    loop {
        line.clear();
        client.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("proxy-authorization") => shown = Some(value.to_owned()),
            Some(_) => {}
            None => break,
        }
    }
    let is_let_in = wanted.is_none() || shown == wanted;
    seen.lock().expect("no tunnel panicked").push(if is_let_in { target.clone() } else { format!("{target} refused") });
    if !is_let_in {
        let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\n\r\n";
        client.write_all(answer.as_bytes()).await.ok()?;
        return None;
    }
    let mut server = TcpStream::connect(address.as_ref().unwrap_or(&target)).await.ok()?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}

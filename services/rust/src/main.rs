//! Starts the service and stops it.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::serve::ListenerExt;
use billing::api::{self, App};
use billing::config::Config;
use billing::logging;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

fn main() -> ExitCode {
    let config = match Config::load(|name| std::env::var(name)) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("billing: {problems}");
            return ExitCode::from(2);
        }
    };
    if std::env::args().nth(1).as_deref() == Some("healthcheck") {
        return exit(api::health::probe(config.listen_addr).map(|()| ExitCode::SUCCESS));
    }
    logging::init(config.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads)
        .enable_all()
        .build()
        .expect("the runtime has no threads");
    let result = runtime.block_on(run(config));
    // Whatever has not ended by now is not waited for.
    runtime.shutdown_background();
    exit(result)
}

/// An error is told, and is 1.
fn exit(result: io::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("billing: {error}");
        ExitCode::FAILURE
    })
}

/// Parity: Go asks for the kernel's limit, tokio for 128, and a burst of connections beyond the
/// backlog waits a second to be tried again. The kernel cuts this to its limit.
const LISTEN_BACKLOG: u32 = 65_535;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

/// Serves until a signal, and then as long as the stop takes.
async fn run(config: Config) -> io::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut told_to_stop = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let listener = listen(config.listen_addr)?;
    let address = listener.local_addr()?;
    // Left off by axum; on in Go.
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap_or_default());
    let app = Arc::new(App::new(&config).await);
    let sweeping = CancellationToken::new();
    app.payer.sweep(sweeping.clone());
    let (stop_accepting, accepting) = oneshot::channel::<()>();
    let server = axum::serve(listener, api::router(app.clone()))
        .with_graceful_shutdown(async { drop(accepting.await) });
    let server = tokio::spawn(server.into_future());
    info!(
        address = %address,
        worker_threads = config.worker_threads,
        database_max_connections = config.database_max_connections,
        payment_channels = app.payments.channels(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );

    told_to_stop().await;
    app.draining.store(true, Ordering::Relaxed);
    info!("draining");
    let stop = async {
        sleep(config.shutdown_drain).await;
        drop(stop_accepting);
        sweeping.cancel();
        let finish = async {
            // What goes on without a request, too.
            (
                server.await,
                app.payer.finish().await,
                app.pool.close().await,
            )
        };
        timeout(config.shutdown_grace, finish).await.is_ok()
    };
    let has_finished = tokio::select! {
        has_finished = stop => has_finished,
        () = told_to_stop() => false,
    };
    info!("stopped");
    Ok(ExitCode::from(u8::from(!has_finished)))
}

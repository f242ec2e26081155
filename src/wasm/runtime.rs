//! Timers, and `azure_core`'s asynchronous runtime on top of them: its own would sleep on a thread, which WebAssembly has not.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use azure_core::async_runtime::{AbortableTask, AsyncRuntime, SpawnedTask, TaskFuture, set_async_runtime};
use futures::{
    FutureExt as _,
    future::{AbortHandle, Abortable, BoxFuture, RemoteHandle},
};
use send_wrapper::SendWrapper;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::binding::{HostObject, Timer};

/// The longest time-out that Node takes, in milliseconds; a longer one would fire at once.
const LONGEST_TIMER: f64 = 2_147_483_647.0;

/// Makes the host's timers those of `azure_core`. Only the first call counts; a process runs one task.
pub fn install(object: &Arc<SendWrapper<HostObject>>) {
    let runtime = Runtime { object: Arc::clone(object) };
    let _ = set_async_runtime(Arc::new(runtime));
}

/// Waits on a timer that stops when the future is dropped.
pub fn sleep(object: Arc<SendWrapper<HostObject>>, duration: Duration) -> BoxFuture<'static, ()> {
    let sleeping = async move {
        let mut rest = (duration.as_secs_f64() * 1000.0).ceil();
        loop {
            let timer = RunningTimer(object.start_timer(rest.min(LONGEST_TIMER)));
            let _ = JsFuture::from(timer.0.done()).await;
            rest -= LONGEST_TIMER;
            if rest <= 0.0 {
                return;
            }
        }
    };
    SendWrapper::new(sleeping).boxed()
}

struct RunningTimer(Timer);

impl Drop for RunningTimer {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Runtime {
    object: Arc<SendWrapper<HostObject>>,
}

impl AsyncRuntime for Runtime {
    fn spawn(&self, task: TaskFuture) -> SpawnedTask {
        let (abort, registration) = AbortHandle::new_pair();
        let (running, result) = Abortable::new(task, registration).map(drop).remote_handle();
        spawn_local(running);
        Box::pin(Spawned { abort, result })
    }

    fn sleep(&self, duration: azure_core::time::Duration) -> TaskFuture {
        sleep(Arc::clone(&self.object), duration.try_into().unwrap_or(Duration::ZERO))
    }

    fn yield_now(&self) -> TaskFuture {
        sleep(Arc::clone(&self.object), Duration::ZERO)
    }
}

/// A task set going. Aborting it resolves it at once.
struct Spawned {
    abort: AbortHandle,
    result: RemoteHandle<()>,
}

impl Future for Spawned {
    type Output = Result<(), Box<dyn Error + Send>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.result.poll_unpin(context).map(Ok)
    }
}

impl AbortableTask for Spawned {
    fn abort(&self) {
        self.abort.abort();
    }
}

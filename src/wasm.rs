//! The WebAssembly host: the engine inside the pipeline agent's own Node.

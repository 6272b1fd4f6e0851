#![allow(dead_code)]
mod settings;
mod tracer;

//! stub
/// stub
#[derive(Debug, Default, Clone)]
pub struct Upcast;
/// stub
#[derive(Debug, Default, Clone)]
pub struct UpcastError;
/// stub
#[derive(Debug, Default, Clone)]
pub struct Upcasters;
/// stub
#[derive(Debug, Default, Clone)]
pub struct Upcasting;

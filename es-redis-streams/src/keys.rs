/// How things are called in the server. The braces keep all keys of a prefix
/// together.
#[derive(Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: format!("{{{prefix}}}") }
    }

    pub(crate) fn answer(&self, key: &str) -> String {
        format!("{}:answer:{key}", self.prefix)
    }

    pub(crate) fn tag(&self, tag: &str) -> String {
        format!("{}:tag:{tag}", self.prefix)
    }

    /// The tag that every answer bears.
    pub(crate) fn everything(&self) -> String {
        format!("{}:everything", self.prefix)
    }

    /// The stream of invalidations.
    pub(crate) fn invalidations(&self) -> String {
        format!("{}:invalidations", self.prefix)
    }
}

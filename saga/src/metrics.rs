//! What an operator watches. Without the feature `metrics` nothing of it is left.

#[cfg(feature = "metrics")]
mod told {
    use std::time::Duration;

    use metrics::{counter, histogram};

    use crate::{SagaEvent, SagaId, Way};

    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Metrics;

    impl Metrics {
        pub(crate) fn new() -> Self {
            Self
        }

        /// These events of this saga are in the log.
        pub(crate) fn recorded(self, id: &SagaId, events: &[SagaEvent]) {
            for event in events {
                let saga = || id.definition().to_owned();
                let of_saga = |outcome: &'static str| {
                    counter!("gesta_sagas_total", "saga" => saga(), "outcome" => outcome)
                        .increment(1);
                };
                let of_step = |way: Way, outcome: &'static str| {
                    let way = way.to_string();
                    counter!("gesta_saga_steps_total", "saga" => saga(), "way" => way, "outcome" => outcome)
                        .increment(1);
                };
                match event {
                    SagaEvent::Started { .. } => of_saga("started"),
                    SagaEvent::CompensationStarted { .. } => of_saga("compensating"),
                    SagaEvent::Suspended { .. } => of_saga("suspended"),
                    SagaEvent::Overdue => of_saga("overdue"),
                    SagaEvent::Completed => of_saga("completed"),
                    SagaEvent::Compensated => of_saga("compensated"),
                    SagaEvent::Terminated => of_saga("terminated"),
                    SagaEvent::StepSucceeded { .. } => of_step(Way::Forward, "done"),
                    SagaEvent::StepCompensated { .. } => of_step(Way::Back, "done"),
                    SagaEvent::StepFailed { way, again: Some(_), .. } => of_step(*way, "retried"),
                    SagaEvent::StepFailed { way, .. } => of_step(*way, "failed"),
                    _ => {}
                }
            }
        }

        /// A try has taken so long.
        pub(crate) fn tried(self, id: &SagaId, way: Way, time: Duration) {
            let (saga, way) = (id.definition().to_owned(), way.to_string());
            histogram!("gesta_saga_step_seconds", "saga" => saga, "way" => way).record(time);
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod told {
    use std::time::Duration;

    use crate::{SagaEvent, SagaId, Way};

    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Metrics;

    impl Metrics {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn recorded(self, _: &SagaId, _: &[SagaEvent]) {}

        pub(crate) fn tried(self, _: &SagaId, _: Way, _: Duration) {}
    }
}

pub(crate) use told::Metrics;

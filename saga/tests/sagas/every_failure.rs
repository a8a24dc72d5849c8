use saga::testing::Matrix;

use crate::trip::{to_rome, trip};

#[tokio::test(start_paused = true)]
async fn whatever_fails_a_trip_ends_completed_or_compensated() {
    let report = Matrix::of(trip, to_rome()).answer("charge", true).run().await;
    report.assert_all_right();
    assert!(report.cases.len() > 60, "{} cases", report.cases.len());
}

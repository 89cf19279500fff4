// Backups as an operator asks for them, by gRPC.
#include <gmock/gmock.h>

#include <map>

#include "services/log/service_harness.h"
#include "sluice/v1/admin.grpc.pb.h"

namespace sluice::log {
namespace {

using Stub = v1::AdminService::Stub;

class AdminServiceTest : public ServiceTest {
 protected:
  void SetUp() override {
    settings_.backup_folder = (folder_.path() / "backups").string();
    Start();
    admin_ = v1::AdminService::NewStub(server_->Channel());
  }
  void StartAgain() {
    admin_.reset();
    Restart();
    admin_ = v1::AdminService::NewStub(server_->Channel());
  }

  absl::StatusOr<v1::CreateBackupProgress> Create() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const auto stream = admin_->CreateBackup(&context, {});
    v1::CreateBackupProgress last;
    while (stream->Read(&last)) {
    }
    const grpc::Status status = stream->Finish();
    if (!status.ok()) return FromGrpc(status, context);
    return last;
  }
  // The last message, with the findings of all.
  absl::StatusOr<v1::VerifyProgress> VerifyAll() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const auto stream = admin_->Verify(&context, {});
    v1::VerifyProgress all;
    for (v1::VerifyProgress message; stream->Read(&message);) all.MergeFrom(message);
    const grpc::Status status = stream->Finish();
    if (!status.ok()) return FromGrpc(status, context);
    return all;
  }
  std::vector<v1::BackupInfo> List() {
    const auto listed = Call(*admin_, &Stub::ListBackups, v1::ListBackupsRequest());
    EXPECT_TRUE(listed.ok()) << listed.status();
    if (!listed.ok()) return {};
    return {listed->backups().begin(), listed->backups().end()};
  }
  absl::Status Delete(uint32_t backup_id, uint64_t pin) {
    v1::DeleteBackupRequest request;
    request.set_backup_id(backup_id);
    request.set_pin(pin);
    return Call(*admin_, &Stub::DeleteBackup, request).status();
  }
  double Metric(const std::string& name, const std::string& label = "") {
    for (const auto& family : registry_->Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) {
        if (label.empty() || metric.label.at(0).value == label) {
          return metric.counter.value + metric.gauge.value;
        }
      }
    }
    return -1;
  }

  std::unique_ptr<Stub> admin_;
};

TEST_F(AdminServiceTest, ABackupIsMadeListedVerifiedAndDeleted) {
  const std::string id = NewCollection();
  ASSERT_TRUE(Push(id, {UpsertOf("a"), UpsertOf("b", std::string(100'000, 'x'))}).ok());
  const auto made = Create();
  ASSERT_TRUE(made.ok()) << made.status();
  const v1::BackupInfo& backup = made->backup();
  EXPECT_NE(backup.backup_id(), 0u);
  EXPECT_NE(backup.pin(), 0u);
  EXPECT_TRUE(backup.complete());
  EXPECT_GT(backup.bytes(), 100'000u);
  EXPECT_GT(backup.begun_time_us(), 0);
  EXPECT_EQ(made->copied_bytes(), made->total_bytes());

  const std::vector<v1::BackupInfo> listed = List();
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(Text(listed[0]), Text(backup));
  v1::VerifyBackupRequest verify;
  verify.set_backup_id(backup.backup_id());
  const auto verified = Call(*admin_, &Stub::VerifyBackup, verify);
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->collections(), 1u);
  EXPECT_EQ(Text(verified->backup()), Text(backup));

  ASSERT_TRUE(Delete(backup.backup_id(), 0).ok());
  EXPECT_TRUE(List().empty());
  const absl::Status gone = Delete(backup.backup_id(), 0);
  ExpectRefused(gone, Reason::BACKUP_NOT_FOUND);
  EXPECT_EQ(OutcomeOf(gone), Outcome::kNotIn);
  ExpectRefused(Delete(0, backup.pin()), Reason::BACKUP_NOT_FOUND);
  ExpectRefused(Call(*admin_, &Stub::VerifyBackup, verify).status(), Reason::BACKUP_NOT_FOUND);
}

TEST_F(AdminServiceTest, RequestsAreChecked) {
  ExpectRefused(Delete(0, 0), Reason::INVALID_REQUEST);
  ExpectRefused(Delete(1, 1), Reason::INVALID_REQUEST);
  ExpectRefused(Call(*admin_, &Stub::VerifyBackup, v1::VerifyBackupRequest()).status(),
                Reason::INVALID_REQUEST);
}

TEST_F(AdminServiceTest, WithoutAFolderThereAreNoBackups) {
  settings_.backup_folder.clear();
  StartAgain();
  ExpectRefused(Create().status(), Reason::BACKUPS_OFF);
  EXPECT_EQ(Metric("sluice_log_backups_total", "BACKUPS_OFF"), 1);
  EXPECT_TRUE(List().empty());
}

TEST_F(AdminServiceTest, ABackupEndsWithItsCallAndLeavesNothing) {
  const std::string id = NewCollection();
  for (int i = 0; i < 16; ++i) {
    ASSERT_TRUE(Push(id, {UpsertOf("a", std::string((1 << 20) - 100, 'x'))}).ok());
  }
  const auto busy = [&] {
    const auto listed = Call(*admin_, &Stub::ListBackups, v1::ListBackupsRequest());
    return ReasonOf(listed.status()) == Reason::BACKUP_BUSY;
  };
  // It may be done before it can be cancelled.
  for (int i = 0; i < 100 && Metric("sluice_log_backups_total", "BACKUP_FAILED") < 1; ++i) {
    grpc::ClientContext context;
    const auto stream = admin_->CreateBackup(&context, {});
    for (int j = 0; j < 1000 && !busy(); ++j) {
    }
    context.TryCancel();
    (void)stream->Finish();
    while (busy()) {
    }
  }
  EXPECT_GE(Metric("sluice_log_backups_total", "BACKUP_FAILED"), 1);
  for (const v1::BackupInfo& info : List()) EXPECT_TRUE(info.complete()) << Text(info);
}

TEST_F(AdminServiceTest, MetricsTellOfTheNewestBackupAlsoAfterARestart) {
  const auto made = Create();
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(Metric("sluice_log_backups_total", "OK"), 1);
  StartAgain();
  // Housekeeping looks within its first turn.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (Metric("sluice_log_backup_newest_timestamp_seconds") <= 0 &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  EXPECT_DOUBLE_EQ(Metric("sluice_log_backup_newest_timestamp_seconds"),
                   static_cast<double>(List()[0].begun_time_us()) / 1e6);
  EXPECT_EQ(Metric("sluice_log_backup_newest_bytes"), static_cast<double>(made->backup().bytes()));
  EXPECT_EQ(Metric("sluice_log_backup_pins", "complete"), 1);
  EXPECT_EQ(Metric("sluice_log_backup_pins", "incomplete"), 0);
}

TEST_F(AdminServiceTest, WhileItDrainsNoBackupIsBegun) {
  node_->BeginDrain();
  ExpectRefused(Create().status(), Reason::DRAINING);
  ExpectRefused(Delete(1, 0), Reason::DRAINING);
}

TEST_F(AdminServiceTest, ARunningLogIsVerified) {
  const std::string id = NewCollection();
  ASSERT_TRUE(Push(id, {UpsertOf("a"), UpsertOf("b", std::string(100'000, 'x'))}).ok());
  const auto verified = VerifyAll();
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_TRUE(verified->complete());
  EXPECT_EQ(verified->findings_count(), 0u) << Text(*verified);
  EXPECT_EQ(verified->logs(), 1u);
  EXPECT_EQ(verified->records(), 2u);
  EXPECT_GT(verified->read_bytes(), 100'000u);
  EXPECT_EQ(verified->read_bytes(), verified->total_bytes());
}

TEST_F(AdminServiceTest, OneVerificationAtATimeAndItEndsWithItsCall) {
  v1::VerifyRequest slow;
  slow.set_max_bytes_per_second(1);
  grpc::ClientContext context;
  const auto stream = admin_->Verify(&context, slow);
  v1::VerifyProgress first;
  ASSERT_TRUE(stream->Read(&first));
  ExpectRefused(VerifyAll().status(), Reason::OVERLOADED);
  context.TryCancel();
  while (stream->Read(&first)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  absl::StatusOr<v1::VerifyProgress> next;
  do {
    next = VerifyAll();
  } while (ReasonOf(next.status()) == Reason::OVERLOADED);
  EXPECT_TRUE(next.ok()) << next.status();
}

TEST_F(AdminServiceTest, AVerificationEndsWithTheLog) {
  v1::VerifyRequest slow;
  slow.set_max_bytes_per_second(1);
  grpc::ClientContext context;
  const auto stream = admin_->Verify(&context, slow);
  v1::VerifyProgress message;
  ASSERT_TRUE(stream->Read(&message));
  node_->BeginDrain();
  while (stream->Read(&message)) {
  }
  EXPECT_FALSE(message.complete());
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  ExpectRefused(VerifyAll().status(), Reason::DRAINING);
}

}  // namespace
}  // namespace sluice::log

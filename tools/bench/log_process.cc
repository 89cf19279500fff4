#include "tools/bench/log_process.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string_view>
#include <utility>

#include "common/base/coding.h"
#include "common/base/ids.h"
#include "common/client/client.h"
#include "common/errors/errors.h"
#include "services/log/shard.h"
#include "tools/bench/payload.h"

namespace sluice::bench {
namespace {

// Commands that are under way at a time while collections are made.
constexpr size_t kCommandsInFlight = 20'000;

// Proposes commands without waiting for each, and keeps the first error.
class Proposer {
 public:
  explicit Proposer(log::Shard& shard) : shard_(shard) {}

  void Propose(const log::pb::Command& command) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return in_flight_ < kCommandsInFlight; });
      ++in_flight_;
    }
    shard_.Propose(log::Command(command), [this](const log::Result& result) {
      const std::lock_guard lock(mutex_);
      --in_flight_;
      error_.Update(result.status());
      changed_.notify_one();
    });
  }
  absl::Status Finish() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return in_flight_ == 0; });
    return error_;
  }

 private:
  log::Shard& shard_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t in_flight_ = 0;
  absl::Status error_;
};

template <class Visit>
void ForEachFile(const std::filesystem::path& folder, const Visit& visit) {
  std::error_code error;
  using Iterator = std::filesystem::recursive_directory_iterator;
  for (auto it = Iterator(folder, error); !error && it != Iterator(); it.increment(error)) {
    std::error_code gone;
    if (it->is_regular_file(gone)) visit(it->path());
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<testing::Process>> StartLog(
    const std::filesystem::path& folder, const std::map<std::string, std::string>& settings) {
  testing::ProcessOptions options{.program = testing::BinaryPath("sluice-log"),
                                  .environment = {{"SLUICE_LOG_DATA", folder.string()},
                                                  {"SLUICE_SERVER_GRPC_ADDRESS", "127.0.0.1:0"},
                                                  {"SLUICE_SERVER_HTTP_ADDRESS", "127.0.0.1:0"}}};
  for (const auto& [name, value] : settings) options.environment[name] = value;
  return testing::Process::Start(std::move(options));
}

absl::StatusOr<std::unique_ptr<testing::Process>> StartSelf(std::vector<std::string> arguments) {
  return testing::Process::Start({.program = "/proc/self/exe", .arguments = std::move(arguments)});
}

v1::CollectionSettings WithoutBacklogLimit() {
  v1::CollectionSettings settings;
  settings.set_max_backlog_bytes(uint64_t{1} << 40);
  return settings;
}

absl::StatusOr<std::string> NewCollection(const std::shared_ptr<grpc::Channel>& channel,
                                          const v1::CollectionSettings& settings) {
  v1::CreateCollectionRequest request;
  request.set_name("bench-" + Uuid::Random().ToString());
  request.mutable_schema()->set_dimension(Payload{}.dimension);
  *request.mutable_settings() = settings;
  SLUICE_ASSIGN_OR_RETURN(const v1::CreateCollectionResponse created,
                          client::Catalog(channel).Create(request));
  return created.collection().id();
}

absl::StatusOr<std::vector<std::string>> MakeCollections(const std::filesystem::path& folder,
                                                         size_t count,
                                                         const v1::CollectionSettings& settings) {
  log::ShardOptions options;
  options.folder = folder;
  SLUICE_ASSIGN_OR_RETURN(const auto shard, log::Shard::Open(std::move(options)));
  Proposer proposer(*shard);
  std::vector<std::string> ids;
  ids.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const CollectionId id(Uuid::Random());
    ids.push_back(id.ToString());
    log::pb::Command create;
    v1::Collection& collection = *create.mutable_create_collection()->mutable_collection();
    collection.set_id(ids.back());
    collection.set_tenant("default_tenant");
    collection.set_database("default_database");
    collection.set_name("bench-" + std::to_string(i));
    collection.mutable_schema()->set_dimension(Payload{}.dimension);
    collection.mutable_schema()->set_metric(v1::METRIC_COSINE);
    *collection.mutable_settings() = settings;
    proposer.Propose(create);

    log::pb::Command open;
    log::pb::OpenLog& log = *open.mutable_open_log();
    log.set_collection_id(std::string(id.view()));
    *log.mutable_schema() = collection.schema();
    *log.mutable_settings() = settings;
    log.set_settings_version(1);
    log.set_id_hash_key(std::string(CollectionId(Uuid::Random()).view()));
    proposer.Propose(open);

    log::pb::Command activate;
    activate.mutable_activate_collection()->set_collection_id(std::string(id.view()));
    proposer.Propose(activate);
  }
  SLUICE_RETURN_IF_ERROR(proposer.Finish());
  shard->Stop();
  return ids;
}

absl::Status CommitWithoutSegment(client::Compaction& compaction,
                                  const v1::ClaimResponse& claimed) {
  v1::CommitRequest commit;
  *commit.mutable_lease() = claimed.lease();
  commit.set_number(1);
  commit.mutable_compaction()->set_from_seq_id(claimed.applied_seq_id());
  commit.mutable_compaction()->set_to_seq_id(claimed.tail_seq_id());
  SLUICE_RETURN_IF_ERROR(compaction.Commit(commit).status());
  v1::ReleaseRequest release;
  *release.mutable_lease() = claimed.lease();
  release.set_reason(v1::RELEASE_REASON_DONE);
  return compaction.Release(release);
}

uint64_t ResidentBytes(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  in >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

double ProcessorSeconds(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(in, line);
  // Behind the name, which may hold anything: the state is field 3, the times are 14 and 15.
  std::istringstream fields(line.substr(line.rfind(')') + 2));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

uint64_t DiskBytes(const std::filesystem::path& folder) {
  uint64_t bytes = 0;
  ForEachFile(folder, [&](const std::filesystem::path& file) {
    struct stat info {};
    if (stat(file.c_str(), &info) == 0) bytes += static_cast<uint64_t>(info.st_blocks) * 512;
  });
  return bytes;
}

void DropPages(const std::filesystem::path& folder) {
  sync();
  ForEachFile(folder, [](const std::filesystem::path& file) {
    const int fd = open(file.c_str(), O_RDONLY);
    if (fd < 0) return;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  });
}

}  // namespace sluice::bench

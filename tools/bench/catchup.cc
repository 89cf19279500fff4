// The group `catchup`: Subscribe from disk over a stream of the same messages from memory.
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common/client/client.h"
#include "common/errors/errors.h"
#include "tools/bench/group.h"
#include "tools/bench/load.h"
#include "tools/bench/log_process.h"
#include "tools/bench/pushes.h"
#include "tools/bench/stream_ceiling.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kFullBytes = 512 << 20;
constexpr size_t kRecordsAPush = 100;
constexpr size_t kInFlight = 8;

struct Read {
  double seconds = 0;
  uint64_t records = 0;
};

// Subscribes from the beginning to `end`, with parsed messages, as a consumer does.
absl::StatusOr<Read> ReadAll(v1::LogService::Stub& stub, const std::string& collection,
                             uint64_t end) {
  v1::SubscribeRequest request;
  request.set_collection_id(collection);
  request.set_earliest(true);
  request.set_end_seq_id(end);
  grpc::ClientContext context;
  const Clock::time_point began = Clock::now();
  const auto reader = stub.Subscribe(&context, request);
  Read read;
  v1::SubscribeResponse message;
  while (reader->Read(&message)) {
    for (const v1::Append& append : message.appends()) read.records += append.records_size();
  }
  if (const grpc::Status status = reader->Finish(); !status.ok()) return FromGrpc(status, context);
  read.seconds = std::chrono::duration<double>(Clock::now() - began).count();
  if (read.records != end) return absl::InternalError("a subscription did not give every record");
  return read;
}

}  // namespace

absl::StatusOr<Figures> BenchCatchup(const BenchOptions& options) {
  const std::filesystem::path folder = options.folder / "catchup";
  SLUICE_ASSIGN_OR_RETURN(auto log, StartLog(folder));
  SLUICE_ASSIGN_OR_RETURN(const std::string collection,
                          NewCollection(client::Connect(log->grpc_address())));
  Progress("catchup", "filling a log");
  uint64_t tail = 0;
  size_t bytes = 0;
  {
    Pushes pushes(client::Connect(log->grpc_address()), {collection}, kInFlight, kRecordsAPush);
    const size_t wanted = options.Sized(kFullBytes) / pushes.push_bytes() + 1;
    SLUICE_RETURN_IF_ERROR(pushes.Push(wanted));
    tail = wanted * kRecordsAPush;
    bytes = wanted * pushes.push_bytes();
  }
  // An orderly stop flushes, so that everything is read from files.
  log->Stop();
  SLUICE_ASSIGN_OR_RETURN(log, StartLog(folder));
  SLUICE_ASSIGN_OR_RETURN(const auto ceiling,
                          StartSelf({"--serve-stream", log->grpc_address(), collection}));
  const auto of_log = v1::LogService::NewStub(client::Connect(log->grpc_address()));
  const auto of_ceiling = v1::LogService::NewStub(client::Connect(ceiling->grpc_address()));

  std::vector<double> ratios;
  Figures raw = Figures::array();
  // The first round is the warm-up.
  for (int round = 0; round <= options.rounds; ++round) {
    Progress("catchup", "round " + std::to_string(round) + " of " + std::to_string(options.rounds));
    DropPages(folder);
    SLUICE_ASSIGN_OR_RETURN(const Read from_disk, ReadAll(*of_log, collection, tail));
    SLUICE_ASSIGN_OR_RETURN(const Read from_memory, ReadAll(*of_ceiling, collection, tail));
    if (round == 0) continue;
    ratios.push_back(from_memory.seconds / from_disk.seconds);
    raw.push_back({{"bytes", bytes},
                   {"subscribe_bytes_per_second", static_cast<double>(bytes) / from_disk.seconds},
                   {"stream_bytes_per_second", static_cast<double>(bytes) / from_memory.seconds}});
  }
  return Figures{{"catchup_over_stream", Median(ratios)}, {"raw", std::move(raw)}};
}

}  // namespace sluice::bench

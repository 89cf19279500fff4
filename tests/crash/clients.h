// The clients of a history: each runs on a thread of its own, does what its seed says, and records
// every call. They know the service's address and nothing of its restarts.
#pragma once

#include <grpcpp/channel.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/crash/history.h"

namespace sluice::testing {

// What the clients of a history share; outlives them.
struct Scene {
  Scene(std::shared_ptr<grpc::Channel> to, uint64_t of_seed, std::vector<std::string> ids)
      : channel(std::move(to)),
        seed(of_seed),
        collections(std::move(ids)),
        ends(collections.size()) {}

  const std::shared_ptr<grpc::Channel> channel;
  const uint64_t seed;
  const std::vector<std::string> collections;
  Recorder recorder;
  // The operations after which clients stop.
  std::atomic<uint64_t> operations = 0;
  // By collection: where its log ends, once no client pushes any more; before, kNoEnd.
  static constexpr uint64_t kNoEnd = UINT64_MAX;
  struct End {
    std::atomic<uint64_t> seq_id = kNoEnd;
  };
  std::vector<End> ends;
};

// Pushes and reads until there are enough operations: plain pushes, tried once; pushes with a
// request_id, tried again until they are answered, some of them later or once too often; pushes on
// the condition that the tail or some ids are as the client saw them; several at once that name
// their predecessors; PullLogs and DescribeLog.
void RunClient(Scene& scene, size_t number);

// Pushes to the first collection through one client::PushStream until there are enough operations.
void RunPushStreamClient(Scene& scene, size_t number);

// Follows a log from its first record, over streams that break and others that it leaves, until it
// has reached the end that the scene says.
void RunSubscriber(Scene& scene, size_t number);

// Reads a log from its first record to its tail, for History::logs.
absl::Status ReadWholeLog(Scene& scene, size_t collection, std::vector<ShownAppend>* log);

}  // namespace sluice::testing

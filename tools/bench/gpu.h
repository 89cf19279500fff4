// A simulated GPU behind the protocol of text-embeddings-inference. A stream of texts is one batch;
// one batch runs at a time, the others wait in the order in which they came. A batch takes 20 ms,
// however few its texts, and more in proportion beyond 16,384 tokens: texts times the longest, as a
// server counts them that pads. Vectors are made up, one for each text.
//
// Thread-safe. Nothing may be under way at its end.
#pragma once

#include <grpcpp/server.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tools/bench/clustered.h"

namespace sluice::bench {

class SimulatedGpu {
 public:
  struct Work {
    uint64_t batches = 0;
    uint64_t texts = 0;
    // Padding included.
    uint64_t tokens = 0;
    // In which a batch ran; from the first batch's start to the last one's end.
    double busy_seconds = 0;
    double seconds = 0;

    double texts_per_second() const { return static_cast<double>(texts) / seconds; }
    double busy() const { return busy_seconds / seconds; }
    // How full batches were.
    double fill() const;
  };

  explicit SimulatedGpu(uint32_t dimension);
  ~SimulatedGpu();

  std::string address() const;
  // What was done since the last call. Nothing may be under way.
  Work TakeWork();

 private:
  using Clock = std::chrono::steady_clock;
  class Service;

  // Waits for its turn, and until the batch is done.
  void Run(const std::vector<std::string>& texts);

  const Clustered vectors_;
  std::mutex mutex_;
  Work work_;
  Clock::time_point first_start_;
  // When the last of the batches that have come is done.
  Clock::time_point free_at_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace sluice::bench

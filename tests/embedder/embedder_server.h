// An embedding server for tests: tei.v1 and Open Inference Protocol v2 on one gRPC port,
// /v1/embeddings on an HTTP port. Vectors are those of the hashing embedder. What it does wrong is
// said by a test, at any time, and by marks in texts. Thread-safe.
#pragma once

#include <grpcpp/server.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/mutex.h"

class CivetServer;

namespace sluice::testing {

// A text that holds one of these is refused; makes its call fail inside the server; hangs.
inline constexpr char kRefusedMark[] = "[refused]";
inline constexpr char kFailingMark[] = "[failing]";
inline constexpr char kHangingMark[] = "[hanging]";

struct Behaviour {
  enum class Wrong {
    kNothing,
    // Each call is refused as overloaded, or as unavailable.
    kOverloaded,
    kUnavailable,
    // No answer until the caller has gone.
    kHang,
    // Breaks off after half of the texts; with an error inside the server.
    kAbort,
    kInternal,
    // Answers that cannot be right.
    kFewer,
    kMore,
    kDimension,
    kNotFinite,
    kGarbage,
  };

  Wrong wrong = Wrong::kNothing;
  uint32_t dimension = 32;
  std::string model = "test-model";
  // Of each call.
  std::chrono::milliseconds latency{0};
  // More calls at once are refused as overloaded; 0: any number.
  uint32_t calls_at_once = 0;
  // If set, callers must bring it.
  std::string token;
  // oip: raw contents. openai: lists of numbers instead of base64, the last first.
  bool other_form = false;
  // Texts that hold this are refused like those with the mark; empty: no others are.
  std::string refuses;
  // tei: what Info says.
  uint32_t max_concurrent_requests = 512;
  uint32_t max_batch_tokens = 16'384;
};

struct TlsFiles {
  // PEM.
  std::string certificate;
  std::string key;
};

class EmbedderServer {
 public:
  // Ports of 0 are chosen by the kernel. With `tls`, gRPC is encrypted.
  explicit EmbedderServer(Behaviour behaviour = {}, const TlsFiles* tls = nullptr,
                          int grpc_port = 0, int http_port = 0);
  ~EmbedderServer();

  std::string grpc_address() const;
  // Ends in /v1.
  std::string url() const;

  void Set(Behaviour behaviour) EXCLUDES(mutex_);
  Behaviour behaviour() const EXCLUDES(mutex_);

  // Texts of calls that were answered, in order of the answers; without the clients' own probes.
  std::vector<std::string> embedded() const EXCLUDES(mutex_);
  // Calls that began, and the most of them at one time; probes are none.
  uint64_t calls() const EXCLUDES(mutex_);
  uint64_t most_at_once() const EXCLUDES(mutex_);

 private:
  friend class TeiService;
  friend class OipService;
  friend class OpenAiHandler;
  class Running;

  mutable Mutex mutex_;
  Behaviour behaviour_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::string> embedded_ GUARDED_BY(mutex_);
  uint64_t calls_ GUARDED_BY(mutex_) = 0;
  uint64_t at_once_ GUARDED_BY(mutex_) = 0;
  uint64_t most_at_once_ GUARDED_BY(mutex_) = 0;

  struct Services;
  std::unique_ptr<Services> services_;
  std::unique_ptr<grpc::Server> grpc_;
  std::unique_ptr<CivetServer> http_;
  int grpc_port_ = 0;
  int http_port_ = 0;
};

}  // namespace sluice::testing

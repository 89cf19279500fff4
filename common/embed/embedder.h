// An embedder: one model behind one or more endpoints. A call goes to the well endpoint with the
// fewest calls under way; endpoints that fail are ejected, and probed by embedding a word of our
// own until they are well (health.h). Probes are sent while there are calls, not by a thread.
//
// Before the first call for a model, a probe learns the model's dimension: a call for another one
// is a misfit at once, so that a collection with wrong settings makes no endpoint look ill to
// others.
//
// Thread-safe. The destructor cancels what runs and waits for it; callers have stopped by then.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/mutex.h"
#include "common/embed/embed_client.h"
#include "common/embed/health.h"
#include "common/embed/settings.h"

namespace sluice::embed {

struct Limits {
  // Of one call. Tokens as a server that pads counts them: texts times the longest.
  size_t max_texts = 256;
  size_t max_tokens = 16'384;
  // Calls at once, over all endpoints that are well (one at least).
  size_t max_in_flight = 8;
};

class Embedder {
 public:
  // INVALID_ARGUMENT, naming the setting.
  static absl::StatusOr<std::unique_ptr<Embedder>> Create(const EmbedderSettings& settings);
  // `limits.max_in_flight`: of each endpoint.
  Embedder(const Limits& limits, std::chrono::milliseconds deadline,
           std::vector<std::unique_ptr<Client>> endpoints);
  ~Embedder();

  // `done` is called once, within this call or on a thread that must not be blocked for long. The
  // call's deadline is cut to the embedder's own. Its words name the endpoint if there are several.
  void Embed(Call call, Done done) EXCLUDES(mutex_);

  // What the servers have stated is in it, from their first probe on.
  Limits limits() const EXCLUDES(mutex_);
  size_t endpoints() const { return endpoints_.size(); }
  size_t well() const EXCLUDES(mutex_);

 private:
  struct Waiting {
    Call call;
    Done done;
  };
  // Guarded by mutex_, but for the client.
  struct Endpoint {
    std::unique_ptr<Client> client;
    Health health;
    size_t in_flight = 0;
    ServerLimits stated;
    // For the end of the probe.
    std::vector<Waiting> waiting;
  };

  // What becomes of a call: it fails, or it is sent to an endpoint, or it waits at one until a
  // probe has ended; and whom to probe now.
  struct Decision {
    std::optional<Failure> failure;
    Endpoint* send = nullptr;
    Endpoint* wait = nullptr;
    Endpoint* probe = nullptr;
  };

  Decision Decide(const Call& call, Health::Time now) REQUIRES(mutex_);
  Endpoint* LeastBusy() REQUIRES(mutex_);
  Failure NoneIsWell(Health::Time now) const REQUIRES(mutex_);
  void Send(Endpoint& endpoint, const Call& call, Done done) EXCLUDES(mutex_);
  void Probe(Endpoint& endpoint, const std::string& model) EXCLUDES(mutex_);
  void EndProbe(Endpoint& endpoint, const std::string& model, Answer answer) EXCLUDES(mutex_);
  // A client's call has returned: nothing is to be done with the client any more.
  void EndStart() EXCLUDES(mutex_);

  const Limits limits_;
  const std::chrono::milliseconds deadline_;
  mutable Mutex mutex_;
  CondVar started_;
  bool closing_ GUARDED_BY(mutex_) = false;
  // Calls of clients that have not returned.
  size_t starting_ GUARDED_BY(mutex_) = 0;
  // By model.
  std::map<std::string, size_t> dimensions_ GUARDED_BY(mutex_);
  size_t turn_ GUARDED_BY(mutex_) = 0;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
};

// The embedders of a service's settings, by name.
class Embedders {
 public:
  static absl::StatusOr<Embedders> Create(const std::map<std::string, EmbedderSettings>& settings);

  // nullptr: there is none of this name.
  Embedder* Find(std::string_view name) const;
  const std::map<std::string, std::unique_ptr<Embedder>, std::less<>>& all() const { return all_; }

 private:
  std::map<std::string, std::unique_ptr<Embedder>, std::less<>> all_;
};

}  // namespace sluice::embed

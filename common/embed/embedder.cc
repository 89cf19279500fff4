#include "common/embed/embedder.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/embed/oip_client.h"
#include "common/embed/openai_client.h"
#include "common/embed/tei_client.h"
#include "common/errors/errors.h"

namespace sluice::embed {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kProbeText[] = "probe";
// More models than one embedder ever serves; beyond it, they are learnt anew.
constexpr size_t kMaxModels = 1'000;

double Share() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return std::uniform_real_distribution<double>()(random);
}

absl::StatusOr<std::unique_ptr<Client>> MakeClient(const std::string& endpoint,
                                                   const EmbedderSettings& settings) {
  if (settings.protocol == "tei") return MakeTeiClient(endpoint, settings);
  if (settings.protocol == "oip") return MakeOipClient(endpoint, settings);
  return MakeOpenAiClient(endpoint, settings);
}

Answer Failed(Failure failure) { return {.vectors = {}, .failure = std::move(failure)}; }

size_t Least(size_t ours, uint32_t stated) {
  return stated == 0 ? ours : std::min<size_t>(ours, stated);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Embedder>> Embedder::Create(const EmbedderSettings& settings) {
  SLUICE_RETURN_IF_ERROR(settings.Check());
  std::vector<std::unique_ptr<Client>> clients;
  for (const std::string& endpoint : settings.Endpoints()) {
    SLUICE_ASSIGN_OR_RETURN(clients.emplace_back(), MakeClient(endpoint, settings));
  }
  return std::make_unique<Embedder>(Limits{.max_texts = settings.max_texts,
                                           .max_tokens = settings.max_tokens,
                                           .max_in_flight = settings.max_in_flight},
                                    std::chrono::milliseconds(settings.deadline_ms),
                                    std::move(clients));
}

Embedder::Embedder(const Limits& limits, std::chrono::milliseconds deadline,
                   std::vector<std::unique_ptr<Client>> endpoints)
    : limits_(limits), deadline_(deadline) {
  for (std::unique_ptr<Client>& client : endpoints) {
    endpoints_.push_back(std::make_unique<Endpoint>());
    endpoints_.back()->client = std::move(client);
  }
}

Embedder::~Embedder() {
  {
    MutexLock lock(mutex_);
    closing_ = true;
    while (starting_ != 0) started_.wait(mutex_);
  }
  for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) endpoint->client.reset();
}

void Embedder::Embed(Call call, Done done) {
  call.deadline = std::min(call.deadline, deadline_);
  const std::string model = call.model;
  Decision decision;
  {
    const MutexLock lock(mutex_);
    decision = Decide(call, Clock::now());
    if (decision.wait != nullptr) decision.wait->waiting.push_back({call, done});
    if (decision.probe != nullptr) {
      decision.probe->health.ProbeBegins();
      ++starting_;
    }
    if (decision.send != nullptr) {
      ++decision.send->in_flight;
      ++starting_;
    }
  }
  if (decision.failure) return done(Failed(*std::move(decision.failure)));
  if (decision.probe != nullptr) Probe(*decision.probe, model);
  if (decision.send != nullptr) Send(*decision.send, call, std::move(done));
}

Embedder::Decision Embedder::Decide(const Call& call, Health::Time now) {
  if (closing_) return {.failure = MakeFailure(Fault::kUnreachable, "stopping")};
  const auto dimension = dimensions_.find(call.model);
  if (dimension != dimensions_.end() && call.dimension != 0 &&
      call.dimension != dimension->second) {
    return {.failure = MakeFailure(Fault::kMisfit,
                                   absl::StrCat("its vectors have dimension ", dimension->second,
                                                "; the collection's is ", call.dimension))};
  }
  const auto due = std::find_if(endpoints_.begin(), endpoints_.end(), [&](const auto& endpoint) {
    return endpoint->health.ProbeDue(now);
  });
  Endpoint* const to_probe = due == endpoints_.end() ? nullptr : due->get();
  if (Endpoint* const well = LeastBusy()) {
    // While some are well, another is looked after on the side.
    if (dimension != dimensions_.end()) return {.send = well, .probe = to_probe};
    return {.wait = well, .probe = well->health.probing() ? nullptr : well};
  }
  if (to_probe != nullptr) return {.wait = to_probe, .probe = to_probe};
  const auto probing = std::find_if(endpoints_.begin(), endpoints_.end(), [](const auto& endpoint) {
    return endpoint->health.probing();
  });
  if (probing != endpoints_.end()) return {.wait = probing->get()};
  return {.failure = NoneIsWell(now)};
}

Embedder::Endpoint* Embedder::LeastBusy() {
  Endpoint* least = nullptr;
  // Equals take turns.
  ++turn_;
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    Endpoint* const endpoint = endpoints_[(turn_ + i) % endpoints_.size()].get();
    if (!endpoint->health.well()) continue;
    if (least == nullptr || endpoint->in_flight < least->in_flight) least = endpoint;
  }
  return least;
}

Failure Embedder::NoneIsWell(Health::Time now) const {
  const auto next = std::min_element(
      endpoints_.begin(), endpoints_.end(),
      [](const auto& a, const auto& b) { return a->health.next_probe() < b->health.next_probe(); });
  const Health& health = (*next)->health;
  return MakeFailure(Fault::kUnreachable, health.words(),
                     std::chrono::ceil<std::chrono::milliseconds>(health.next_probe() - now));
}

void Embedder::Send(Endpoint& endpoint, const Call& call, Done done) {
  endpoint.client->Embed(call, [this, &endpoint, done = std::move(done)](Answer answer) {
    {
      const MutexLock lock(mutex_);
      --endpoint.in_flight;
      if (answer.failure) {
        endpoint.health.CallFailed(*answer.failure, Clock::now(), Share());
      } else {
        endpoint.health.CallSucceeded();
      }
    }
    done(std::move(answer));
  });
  EndStart();
}

void Embedder::Probe(Endpoint& endpoint, const std::string& model) {
  // Not by way of the endpoint: while a client goes, its calls end, but the pointer is null
  // already.
  Client* const client = endpoint.client.get();
  client->Describe(deadline_, [this, &endpoint, client, model](std::optional<Failure> failure,
                                                               ServerLimits stated) {
    if (failure) return EndProbe(endpoint, model, Failed(*std::move(failure)));
    {
      const MutexLock lock(mutex_);
      endpoint.stated = stated;
    }
    client->Embed(
        {.model = model, .texts = {kProbeText}, .deadline = deadline_},
        [this, &endpoint, model](Answer answer) { EndProbe(endpoint, model, std::move(answer)); });
  });
  EndStart();
}

void Embedder::EndProbe(Endpoint& endpoint, const std::string& model, Answer answer) {
  std::vector<Waiting> waiting;
  {
    const MutexLock lock(mutex_);
    // A server that does not take a word of ours is set up wrongly, or we are.
    if (answer.failure && answer.failure->fault == Fault::kRefused)
      answer.failure->fault = Fault::kMisfit;
    if (!answer.failure) {
      if (dimensions_.size() >= kMaxModels) dimensions_.clear();
      dimensions_[model] = answer.vectors[0].size();
    }
    endpoint.health.ProbeEnded(answer.failure, Clock::now(), Share());
    waiting.swap(endpoint.waiting);
  }
  for (Waiting& one : waiting) {
    // Those of another model begin anew, and may probe in turn.
    if (answer.failure && one.call.model == model) {
      one.done(Failed(*answer.failure));
    } else {
      Embed(std::move(one.call), std::move(one.done));
    }
  }
}

void Embedder::EndStart() {
  const MutexLock lock(mutex_);
  --starting_;
  started_.notify_all();
}

Limits Embedder::limits() const {
  const MutexLock lock(mutex_);
  Limits limits = limits_;
  size_t fit = 0;
  for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) {
    limits.max_texts = Least(limits.max_texts, endpoint->stated.max_texts);
    limits.max_tokens = Least(limits.max_tokens, endpoint->stated.max_tokens);
    if (endpoint->health.well()) ++fit;
  }
  limits.max_in_flight = limits_.max_in_flight * std::max<size_t>(1, fit);
  return limits;
}

size_t Embedder::well() const {
  const MutexLock lock(mutex_);
  return static_cast<size_t>(
      std::count_if(endpoints_.begin(), endpoints_.end(),
                    [](const auto& endpoint) { return endpoint->health.well(); }));
}

absl::StatusOr<Embedders> Embedders::Create(
    const std::map<std::string, EmbedderSettings>& settings) {
  Embedders embedders;
  for (const auto& [name, of_one] : settings) {
    if (name == kHashing) return absl::InvalidArgumentError("embedder hashing: it is built in");
    absl::StatusOr<std::unique_ptr<Embedder>> embedder = Embedder::Create(of_one);
    if (!embedder.ok()) return Annotate(embedder.status(), absl::StrCat("embedder ", name));
    embedders.all_[name] = *std::move(embedder);
  }
  return embedders;
}

Embedder* Embedders::Find(std::string_view name) const {
  const auto found = all_.find(name);
  return found == all_.end() ? nullptr : found->second.get();
}

}  // namespace sluice::embed

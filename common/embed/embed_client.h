// What every protocol of embedding servers looks like from here: a batch of texts in; their
// vectors, or a failure of a known class, out.
//
// Thread-safe. Results are joined by position within one call only; whoever calls joins them to
// ids.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::embed {

// The embedder that is built in (hashing_embedder.h): no other may be called so.
inline constexpr std::string_view kHashing = "hashing";

// Why a call failed, which says who is to blame.
enum class Fault {
  // The server says that it has too much to do. Infrastructure: ask less.
  kOverloaded,
  // No answer: no connection, no permission, a deadline passed. Infrastructure.
  kUnreachable,
  // An answer that cannot be right, or an error inside the server. Infrastructure.
  kIll,
  // Embedder and collection do not fit: another model, another dimension, a method that is not
  // there. It does not pass by itself: a failure of the collection's configuration.
  kMisfit,
  // The server does not take this text, or one of these.
  kRefused,
};

std::string_view FaultName(Fault fault);

struct Failure {
  Fault fault;
  // The server's words, at most kMaxWordsBytes of valid UTF-8.
  std::string words;
  // What the server asked for.
  std::optional<std::chrono::milliseconds> retry_after;
};

inline constexpr size_t kMaxWordsBytes = 300;
// Cuts the words; bytes that are not UTF-8 or control characters become '?'.
Failure MakeFailure(Fault fault, std::string_view words,
                    std::optional<std::chrono::milliseconds> retry_after = std::nullopt);

using Vectors = std::vector<std::vector<float>>;

struct Call {
  // What the server calls the model; empty: whatever it serves.
  std::string model;
  // Of the vectors; 0: whatever comes.
  uint32_t dimension = 0;
  // At least one, none empty; prefixes are in place.
  std::vector<std::string> texts;
  // No answer after this long is a failure.
  std::chrono::milliseconds deadline = std::chrono::hours(1);
};

// Vectors of the first texts, in their order: of all, or else `failure` says why not.
struct Answer {
  Vectors vectors;
  std::optional<Failure> failure;
  // A refusal of the text at vectors.size(), not merely of one of those without a vector.
  bool names_the_text = false;
};

using Done = std::function<void(Answer)>;

// Limits that a server has stated; 0: not stated.
struct ServerLimits {
  uint32_t max_texts = 0;
  uint32_t max_tokens = 0;
};

using Described = std::function<void(std::optional<Failure>, ServerLimits)>;

// One server. The destructor cancels what runs, and returns once every `done` has returned; it must
// not run on a thread that runs one.
class Client {
 public:
  virtual ~Client() = default;

  // `done` is called once, on a thread of the client's or within this call.
  virtual void Embed(const Call& call, Done done) = 0;
  // Asks for what can be known before the first call; called before it, and again after failures.
  virtual void Describe(std::chrono::milliseconds deadline, Described done) = 0;
};

// What every answer must be: as many vectors as texts, all of one dimension (the call's, if it
// names one) and finite; else kIll, and no vector.
Answer Checked(const Call& call, Vectors vectors);

}  // namespace sluice::embed

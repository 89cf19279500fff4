// Texts that a simulated GPU embeds: whether it ever waits for the compactor, with one large
// collection and with many small ones.
#include <signal.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "tools/bench/compact.h"
#include "tools/bench/gpu.h"
#include "tools/bench/indexed.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kDimension = 384;
constexpr size_t kTexts = 100'000;
constexpr size_t kSmallCollections = 1'000;
constexpr size_t kRecordsAPush = 500;
// Of a text: 32 to 256 tokens.
constexpr size_t kLeastBytes = 128;
constexpr size_t kMostBytes = 1'024;
constexpr char kEmbedder[] = "gpu";

v1::OperationRecord TextOf(uint64_t number) {
  std::mt19937 random(static_cast<uint32_t>(number));
  v1::OperationRecord record;
  record.set_id(absl::StrCat("text-", number));
  record.set_operation(v1::OPERATION_UPSERT);
  std::string& text = *record.mutable_document();
  text = absl::StrCat("text ", number);
  const size_t bytes = kLeastBytes + random() % (kMostBytes - kLeastBytes);
  while (text.size() < bytes) absl::StrAppend(&text, " word", random() % 50'000);
  text.resize(bytes);
  return record;
}

Figures ToFigures(const SimulatedGpu::Work& work) {
  return {{"texts", work.texts},
          {"batches", work.batches},
          {"tokens", work.tokens},
          {"seconds", work.seconds},
          {"busy", work.busy()},
          {"fill", work.fill()},
          {"texts_per_second", work.texts_per_second()}};
}

std::string ConfigurationWith(const SimulatedGpu& gpu) {
  return absl::StrCat("compactor:\n  embedders:\n    ", kEmbedder,
                      ":\n      protocol: tei\n      endpoints: ", gpu.address(), "\n");
}

// `texts` in all, as many in each of the collections, are in the log before the compactor starts.
absl::StatusOr<SimulatedGpu::Work> Embed(const BenchOptions& options, SimulatedGpu& gpu,
                                         size_t texts, size_t collections) {
  SLUICE_ASSIGN_OR_RETURN(const auto cluster,
                          StartIndexed(options, {.compactors = 1, .frontends = 0}, {},
                                       {{"compactor", ConfigurationWith(gpu)}}));
  const size_t compactor = cluster->compactor(0);
  client::Log log(client::Connect(cluster->address(cluster->log())));
  cluster->Kill(compactor);
  std::vector<CollectionId> ids;
  const size_t each = texts / collections;
  for (size_t i = 0; i < collections; ++i) {
    SLUICE_ASSIGN_OR_RETURN(ids.emplace_back(),
                            NewIndexed(*cluster, kDimension, DueAtOnce(), kEmbedder));
    SLUICE_RETURN_IF_ERROR(
        PushRecords(log, ids.back(), i * each, each, kRecordsAPush, TextOf).status());
  }
  SLUICE_RETURN_IF_ERROR(cluster->Restart(compactor, SIGKILL));
  for (const CollectionId& id : ids) SLUICE_RETURN_IF_ERROR(AwaitApplied(log, id));
  return gpu.TakeWork();
}

}  // namespace

absl::StatusOr<Figures> BenchCompactEmbed(const BenchOptions& options) {
  const size_t collections = options.Sized(kSmallCollections);
  const size_t texts = collections * (kTexts / kSmallCollections);
  SimulatedGpu gpu(kDimension);
  Progress("compact", "a GPU, and one collection");
  SLUICE_ASSIGN_OR_RETURN(const SimulatedGpu::Work one, Embed(options, gpu, texts, 1));
  Progress("compact", "a GPU, and many small collections");
  SLUICE_ASSIGN_OR_RETURN(const SimulatedGpu::Work many, Embed(options, gpu, texts, collections));
  return Figures{{"embedder_busy", one.busy()},
                 {"many_small_over_one", many.texts_per_second() / one.texts_per_second()},
                 {"raw", {{"one", ToFigures(one)}, {"many", ToFigures(many)}}}};
}

}  // namespace sluice::bench

// Bytes of text a second that one core embeds, for texts the size of a package description.
#include <benchmark/benchmark.h>

#include <string>

#include "common/embed/hashing_embedder.h"

namespace sluice {
namespace {

// About 80 words, as package descriptions have.
constexpr char kText[] =
    "nginx: small, powerful, scalable web/proxy server. Nginx (\"engine X\") is a high-performance "
    "web and reverse "
    "proxy server created by Igor Sysoev. It can be used both as a standalone web server and as a "
    "proxy to reduce "
    "the load on back-end HTTP or mail servers. This is a dependency package to install either "
    "nginx-full, with the "
    "standard modules, or one of the smaller flavours for machines where each megabyte counts; see "
    "the "
    "documentation for what belongs to which of them, and how a site of your own is enabled.";

void BM_Embed(benchmark::State& state) {
  const HashingEmbedder embedder(static_cast<uint32_t>(state.range(0)));
  const std::string_view text(kText);
  for (auto _ : state) benchmark::DoNotOptimize(embedder.Embed(text));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK(BM_Embed)->Arg(384)->Arg(1024);

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();

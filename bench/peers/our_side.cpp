/// Our side of the comparison with other engines: a server that times cases of ours when it is asked to, so that a
/// driver can alternate rounds of ours with rounds of each peer while only one of them computes.
///
/// Each line of standard input is a request in JSON, each line of standard output its answer:
///   {"do": "open", "case", "precision", "threads", "batch", "inputs": file, "folder"}
///       makes a case with random weights; inputs are raw floats, any number of inputs in a row. Writes
///       folder/weights.safetensors and folder/outputs.f32 (one output per input), answers with the cost of a run.
///       A training step also writes folder/gradients.safetensors and folder/updated.safetensors after the first input
///   {"do": "run", "iterations": n}     times n runs, a different input each: {"ms": [...]}
///   {"do": "peak", "threads": n}       one loop of multiply-adds in registers on n threads: {"gflops"}
///   {"do": "memory"}                   sizes and read bandwidths of the memory levels: {"levels": [...]}
/// What cannot be done is answered with {"error"}.
#include "bandwidth.hpp"
#include "our_case.hpp"

#include <moevit/build_info.hpp>
#include <moevit/io/safetensors_writer.hpp>

#include <chrono>
#include <fstream>
#include <iostream>
#include <numeric>
#include <optional>
#include <thread>

namespace moevit::bench {
namespace {

using nlohmann::json;

std::vector<float> read_raw(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) fail(path, ": cannot be read");
  std::vector<float> values(static_cast<std::size_t>(file.tellg()) / sizeof(float));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file) fail(path, ": cannot be read whole");
  return values;
}

void write_weights(const std::string& path, const std::vector<Parameter>& parameters) {
  std::map<std::string, const Parameter*> by_name;
  std::vector<StoredTensor> tensors;
  for (const Parameter& parameter : parameters) {
    by_name[parameter.name] = &parameter;
    tensors.push_back({parameter.name, "F32", parameter.shape, {}});
  }
  std::vector<float> values;
  write_safetensors(path, std::move(tensors), {}, [&](const StoredTensor& tensor) {
    values = by_name.at(tensor.name)->values();
    return std::as_bytes(std::span(values));
  });
}

/// The case that is open, with its inputs and room for one output.
class Opened {
 public:
  explicit Opened(const json& request)
      : request_{request.at("case"), request.at("precision"), request.at("threads"), request.at("batch"),
                 read_raw(request.at("inputs"))} {
    if (!make_model(request_, case_) && !make_training(request_, case_) && !make_layer(request_, case_) &&
        !make_hierarchical(request_, case_) && !make_maps(request_, case_) && !make_kernel(request_, case_))
      fail("there is no case '", request_.name, "'");
    inputs_ = split_inputs(request_, case_.input_values);
    output_.resize(static_cast<std::size_t>(case_.output_values));
    const std::string folder = request.at("folder");
    write_weights(folder + "/weights.safetensors", case_.parameters);
    std::ofstream outputs(folder + "/outputs.f32", std::ios::binary);
    for (const std::span<const float> input : inputs_) {
      case_.run(input, output_);
      outputs.write(reinterpret_cast<const char*>(output_.data()),
                    static_cast<std::streamsize>(output_.size() * sizeof(float)));
      if (input.data() == inputs_.front().data()) write_first_step(folder);
    }
    if (!outputs.flush()) fail(folder, "/outputs.f32: cannot be written");
  }

  json about() const {
    const Cost cost = case_.cost();
    return {{"multiply_adds", cost.multiply_adds}, {"bytes", cost.bytes}, {"inputs", inputs_.size()}};
  }

  json run(Index iterations) {
    using Clock = std::chrono::steady_clock;
    std::vector<double> milliseconds;
    case_.run(next_input(), output_);  // whoever ran before has emptied the caches
    for (Index i = 0; i < iterations; ++i) {
      const std::span<const float> input = next_input();
      const auto start = Clock::now();
      case_.run(input, output_);
      milliseconds.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    }
    return {{"ms", milliseconds}};
  }

 private:
  void write_first_step(const std::string& folder) const {
    if (case_.gradients.empty()) return;
    write_weights(folder + "/gradients.safetensors", case_.gradients);
    write_weights(folder + "/updated.safetensors", case_.parameters);
  }
  std::span<const float> next_input() { return inputs_[next_++ % inputs_.size()]; }

  Request request_;
  OurCase case_;
  std::vector<std::span<const float>> inputs_;
  std::size_t next_ = 0;
  std::vector<float> output_;
};

json peak(std::size_t threads) {
  std::vector<double> rates(threads);
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < threads; ++i) others.emplace_back([&rates, i] { rates[i] = fma_rate(); });
  rates[0] = fma_rate();
  for (std::thread& thread : others) thread.join();
  return {{"gflops", 2e-9 * std::accumulate(rates.begin(), rates.end(), 0.)}};
}

json memory() {
  json levels = json::array();
  for (const MemoryLevel& level : measure_memory())
    levels.push_back(
        {{"name", level.name}, {"bytes", level.bytes}, {"gbytes_per_second", 1e-9 * level.bytes_per_second}});
  return {{"levels", levels}};
}

json answer(const json& request, std::optional<Opened>& opened) {
  const std::string what = request.at("do");
  if (what == "peak") return peak(request.at("threads"));
  if (what == "memory") return memory();
  if (what == "open") {
    opened.reset();  // frees the case before
    return opened.emplace(request).about();
  }
  if (what != "run") fail("there is no request '", what, "'");
  if (!opened) fail("no case is open");
  return opened->run(request.at("iterations"));
}

}  // namespace
}  // namespace moevit::bench

int main() {
  std::cerr << moevit::build_info() << '\n';
  std::optional<moevit::bench::Opened> opened;
  for (std::string line; std::getline(std::cin, line);) {
    nlohmann::json result;
    try {
      result = moevit::bench::answer(nlohmann::json::parse(line), opened);
    } catch (const std::exception& error) {
      result = {{"error", error.what()}};
    }
    std::cout << result.dump() << std::endl;
  }
}

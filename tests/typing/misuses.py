"""A program that uses the API wrongly: a type checker must object to each line with `# wrong`."""

import topbit

recording = topbit.run("seed")
topbit.nonsense()  # wrong
topbit.run(1)  # wrong
topbit.run("seed", machine="kvm")  # wrong
topbit.run("seed", kernl="7.3")  # wrong
topbit.run("seed", machine="qemu", cpus="two")  # wrong
topbit.check(recording, ipa_bits=41)  # wrong
topbit.check(1)  # wrong
topbit.explain("0x100433ce000", 41)  # wrong
topbit.explain(0x100433CE000)  # wrong
topbit.read("trace.txt").frame  # wrong
recording.nonsense  # wrong

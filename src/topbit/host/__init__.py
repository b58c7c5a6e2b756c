"""The host kernel: RMI calls, the SMMU driver and its page tables, the host's own pages.

Belongs here: what any host does that runs Realms, under the kernel's names. `rme` makes Realms by
single-page calls, `rme_ranges` by those of RMI 2.0, `rmi_da` assigns devices; `arm_smmu_v3` drives
an SMMU, `io_pgtable` writes its stage-2 tables as bytes.
Does not belong here: what a VMM decides (which page is shared, which half is mapped for whom).
"""

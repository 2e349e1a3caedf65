"""Which microarchitecture a CPU is, by vendor, family, model and stepping numbers of /proc/cpuinfo.

Clouds mask the model's name (it may read just "AMD EPYC"), the numbers stay. Sources: the kernel's
arch/x86/include/asm/intel-family.h for Intel, AMD's lists of family 17h, 19h and 1Ah models, Arm's
main ID register part numbers. The names are rows of cpu_power.csv.
"""

from __future__ import annotations

# (family, first model, last model): name
_AMD = {
    (0x17, 0x00, 0x0F): "AMD EPYC Naples (Zen 1)",
    (0x17, 0x30, 0x3F): "AMD EPYC Rome (Zen 2)",
    (0x19, 0x00, 0x0F): "AMD EPYC Milan (Zen 3)",
    (0x19, 0x10, 0x1F): "AMD EPYC Genoa (Zen 4)",
    (0x19, 0x60, 0x6F): "AMD EPYC Raphael 4004 (Zen 4)",
    (0x19, 0xA0, 0xAF): "AMD EPYC Bergamo (Zen 4c)",
    (0x1A, 0x00, 0x1F): "AMD EPYC Turin (Zen 5)",
    (0x1A, 0x40, 0x4F): "AMD EPYC Grado 4005 (Zen 5)",
}
# Family 6 models; 0x55 and 0x9E are several generations that only the stepping distinguishes.
_INTEL = {
    0x2D: "Intel Sandy Bridge",
    0x3E: "Intel Ivy Bridge",
    0x3F: "Intel Haswell",
    0x4F: "Intel Broadwell",
    0x56: "Intel Broadwell",
    0x5E: "Intel Skylake client (E3 v5)",
    0x6A: "Intel Ice Lake-SP",
    0x6C: "Intel Ice Lake-SP",
    0xA7: "Intel Rocket Lake (E-23xx)",
    0x8F: "Intel Sapphire Rapids",
    0xB7: "Intel Raptor Lake (E-24xx)",
    0xCF: "Intel Emerald Rapids",
    0xAD: "Intel Granite Rapids (P-core)",
    0xAE: "Intel Granite Rapids (P-core)",
    0xAF: "Intel Sierra Forest (E-core)",
}
# (implementer, part) of Arm's main ID register. Neoverse V2 is Graviton4 and Axion alike: the same figures.
_ARM = {
    (0x41, 0xD0C): "Ampere Altra (Neoverse N1)",
    (0x41, 0xD40): "AWS Graviton3 (Neoverse V1)",
    (0x41, 0xD49): "Microsoft Cobalt 100 (Neoverse N2)",
    (0x41, 0xD4F): "AWS Graviton4 (Neoverse V2)",
}


def first_processor(cpuinfo: str) -> dict[str, str]:
    """The fields of the first processor of /proc/cpuinfo's text."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def find_microarchitecture(fields: dict[str, str]) -> str | None:
    """The name for a processor's fields; None if its numbers are not known."""
    if "CPU implementer" in fields:
        return _ARM.get((_number(fields, "CPU implementer"), _number(fields, "CPU part")))
    family, model = _number(fields, "cpu family"), _number(fields, "model")
    if fields.get("vendor_id") == "AuthenticAMD":
        return next(
            (name for (wanted, first, last), name in _AMD.items() if wanted == family and first <= model <= last),
            None,
        )
    if fields.get("vendor_id") == "GenuineIntel" and family == 6:
        if model == 0x55:
            stepping = _number(fields, "stepping")
            if stepping >= 10:
                return "Intel Cooper Lake"
            return "Intel Cascade Lake-SP" if stepping >= 5 else "Intel Skylake-SP"
        if model == 0x9E:
            coffee = _number(fields, "stepping") >= 10
            return "Intel Coffee Lake (E-21xx/22xx)" if coffee else "Intel Kaby Lake (E3 v6)"
        return _INTEL.get(model)
    return None


def _number(fields: dict[str, str], key: str) -> int:
    try:
        return int(fields.get(key, ""), 0)
    except ValueError:
        return -1

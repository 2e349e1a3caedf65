/* A libnvidia-ml.so.1 without a driver: what pynvml asks is answered from a scenario file.
 *
 * The file is named by NVML_SCENARIO and read at each call, so a test changes it as time passes. A line is
 * `key=value`; what has no key is NOT_SUPPORTED, as on a GPU that lacks it.
 *
 *   gpus=2                              how many there are
 *   error.nvmlInitWithFlags=9           any function fails with an NVML code; gpu0.error.<function> for one GPU
 *   gpu0.uuid= .name= .minor=
 *   gpu0.energy_mj=                     the counter; with gpu0.watts= and gpu0.since_ms= (boot clock) it runs
 *   gpu0.power_mw= .busy=               power now; utilization in per cent
 *   gpu0.processes=PID:UTIL:STAMP,...   process utilization samples
 *   gpu0.mig=1 .max_mig=7               MIG; gpu0.mig0.uuid= .gi= .ci= .parts=
 *   gpu0.gpm=1 gpu0.gi1.sm=40           GPM, and the activity of a GPU instance in per cent
 *
 * Signatures and codes: NVIDIA's nvml.h.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, SMALL = 7 };
typedef int R;
typedef void *Dev; /* (gpu + 1) | (mig + 1) << 16 */

static int lookup(const char *key, char *value, size_t size) {
    const char *path = getenv("NVML_SCENARIO");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[4096];
    size_t length = strlen(key);
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, key, length) && line[length] == '=') {
            snprintf(value, size, "%s", line + length + 1);
            found = 1;
        }
    }
    if (file) fclose(file);
    return found;
}

static int gpu_of(Dev d) { return (int)((uintptr_t)d & 0xffff) - 1; }
static int mig_of(Dev d) { return (int)((uintptr_t)d >> 16) - 1; }

static int ask(Dev d, const char *what, char *value, size_t size) {
    char key[128];
    if (mig_of(d) >= 0) snprintf(key, sizeof key, "gpu%d.mig%d.%s", gpu_of(d), mig_of(d), what);
    else snprintf(key, sizeof key, "gpu%d.%s", gpu_of(d), what);
    return lookup(key, value, size);
}

static int number(Dev d, const char *what, double *found) {
    char value[4096];
    if (!ask(d, what, value, sizeof value)) return 0;
    *found = atof(value);
    return 1;
}

/* The code that the scenario wants a function to fail with, 0 for none. */
static R wanted(Dev d, const char *function) {
    char key[128], value[64];
    snprintf(key, sizeof key, "error.%s", function);
    if (lookup(key, value, sizeof value)) return atoi(value);
    if (!d) return OK;
    snprintf(key, sizeof key, "gpu%d.error.%s", gpu_of(d), function);
    return lookup(key, value, sizeof value) ? atoi(value) : OK;
}
#define FAIL_IF_WANTED(d) do { R code_ = wanted((d), __func__); if (code_) return code_; } while (0)

static R text(Dev d, const char *what, char *out, unsigned size) {
    return ask(d, what, out, size) ? OK : NOT_SUPPORTED;
}
static R whole(Dev d, const char *what, unsigned *out) {
    double value;
    if (!number(d, what, &value)) return NOT_SUPPORTED;
    *out = (unsigned)value;
    return OK;
}

R nvmlInitWithFlags(unsigned flags) { (void)flags; FAIL_IF_WANTED(NULL); return OK; }
R nvmlInit_v2(void) { FAIL_IF_WANTED(NULL); return OK; }
R nvmlShutdown(void) { FAIL_IF_WANTED(NULL); return OK; }
const char *nvmlErrorString(R code) { static char s[32]; snprintf(s, sizeof s, "scenario error %d", code); return s; }

R nvmlDeviceGetCount_v2(unsigned *count) {
    char value[64];
    FAIL_IF_WANTED(NULL);
    *count = lookup("gpus", value, sizeof value) ? (unsigned)atoi(value) : 0;
    return OK;
}
R nvmlDeviceGetHandleByIndex_v2(unsigned index, Dev *out) {
    *out = (Dev)(uintptr_t)(index + 1);
    FAIL_IF_WANTED(*out);
    return OK;
}
R nvmlDeviceGetUUID(Dev d, char *out, unsigned size) { FAIL_IF_WANTED(d); return text(d, "uuid", out, size); }
R nvmlDeviceGetName(Dev d, char *out, unsigned size) { FAIL_IF_WANTED(d); return text(d, "name", out, size); }
R nvmlDeviceGetMinorNumber(Dev d, unsigned *out) { FAIL_IF_WANTED(d); return whole(d, "minor", out); }

R nvmlDeviceGetTotalEnergyConsumption(Dev d, unsigned long long *out) {
    char value[64];
    double watts, since_ms;
    FAIL_IF_WANTED(d);
    if (!ask(d, "energy_mj", value, sizeof value)) return NOT_SUPPORTED;
    *out = strtoull(value, NULL, 10);
    if (number(d, "watts", &watts) && number(d, "since_ms", &since_ms)) {
        struct timespec now;
        clock_gettime(CLOCK_BOOTTIME, &now);
        *out += (unsigned long long)(watts * (now.tv_sec * 1e3 + now.tv_nsec / 1e6 - since_ms));
    }
    return OK;
}
R nvmlDeviceGetPowerUsage(Dev d, unsigned *out) { FAIL_IF_WANTED(d); return whole(d, "power_mw", out); }
R nvmlDeviceGetPowerManagementLimitConstraints(Dev d, unsigned *least, unsigned *most) {
    FAIL_IF_WANTED(d);
    *least = 0;
    return whole(d, "limit_mw", most);
}
R nvmlDeviceGetUtilizationRates(Dev d, unsigned out[2]) {
    FAIL_IF_WANTED(d);
    out[1] = 0;
    return whole(d, "busy", &out[0]);
}

typedef struct { unsigned pid; unsigned long long stamp; unsigned sm, mem, enc, dec; } Sample;
R nvmlDeviceGetProcessUtilization(Dev d, Sample *out, unsigned *count, unsigned long long since) {
    char value[4096];
    unsigned found = 0;
    FAIL_IF_WANTED(d);
    if (!ask(d, "processes", value, sizeof value)) return NOT_SUPPORTED;
    for (char *at = strtok(value, ","); at; at = strtok(NULL, ",")) {
        Sample sample = {0};
        if (sscanf(at, "%u:%u:%llu", &sample.pid, &sample.sm, &sample.stamp) != 3 || sample.stamp <= since) continue;
        if (out && found < *count) out[found] = sample;
        found++;
    }
    if (!found) return NOT_FOUND;
    if (!out) { *count = found; return SMALL; }
    *count = found;
    return OK;
}

R nvmlDeviceGetMigMode(Dev d, unsigned *current, unsigned *pending) {
    FAIL_IF_WANTED(d);
    *pending = 0;
    return whole(d, "mig", current);
}
R nvmlDeviceGetMaxMigDeviceCount(Dev d, unsigned *out) { FAIL_IF_WANTED(d); return whole(d, "max_mig", out); }
R nvmlDeviceGetMigDeviceHandleByIndex(Dev d, unsigned index, Dev *out) {
    char value[128];
    FAIL_IF_WANTED(d);
    *out = (Dev)((uintptr_t)d | (uintptr_t)(index + 1) << 16);
    return ask(*out, "uuid", value, sizeof value) ? OK : NOT_FOUND;
}
R nvmlDeviceGetGpuInstanceId(Dev d, unsigned *out) { FAIL_IF_WANTED(d); return whole(d, "gi", out); }
R nvmlDeviceGetComputeInstanceId(Dev d, unsigned *out) { FAIL_IF_WANTED(d); return whole(d, "ci", out); }
typedef struct { unsigned sms, ce, dec, enc, jpeg, ofa, gi_slices, ci_slices; unsigned long long memory_mb; } Attributes;
R nvmlDeviceGetAttributes_v2(Dev d, Attributes *out) {
    FAIL_IF_WANTED(d);
    memset(out, 0, sizeof *out);
    R code = whole(d, "parts", &out->ci_slices);
    out->gi_slices = out->ci_slices;
    return code;
}

/* GPM: a sample is a note of who was asked; comparing two gives what the scenario says now. */
typedef struct { int gpu, instance; } GpmSample;
typedef struct { unsigned id; R code; double value; const char *names[3]; } Metric;
typedef struct { unsigned version, count; GpmSample *first, *second; Metric metrics[1]; } Query;
R nvmlGpmQueryDeviceSupport(Dev d, unsigned out[2]) {
    FAIL_IF_WANTED(d);
    if (whole(d, "gpm", &out[1])) out[1] = 0;
    return OK;
}
R nvmlGpmSampleAlloc(GpmSample **out) { FAIL_IF_WANTED(NULL); *out = calloc(1, sizeof **out); return OK; }
R nvmlGpmSampleFree(GpmSample *sample) { free(sample); return OK; }
R nvmlGpmMigSampleGet(Dev d, unsigned instance, GpmSample *sample) {
    FAIL_IF_WANTED(d);
    if (mig_of(d) >= 0) return INVALID; /* only the parent may be asked */
    sample->gpu = gpu_of(d);
    sample->instance = (int)instance;
    return OK;
}
R nvmlGpmMetricsGet(Query *query) {
    char what[64];
    double value = 0;
    FAIL_IF_WANTED(NULL);
    if (query->first->gpu != query->second->gpu || query->first->instance != query->second->instance) return INVALID;
    snprintf(what, sizeof what, "gi%d.sm", query->second->instance);
    query->metrics[0].code = number((Dev)(uintptr_t)(query->second->gpu + 1), what, &value) ? OK : NOT_SUPPORTED;
    query->metrics[0].value = value;
    return OK;
}

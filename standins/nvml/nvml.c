/* Simulated libnvidia-ml.so.1: the part of NVML that energy meters call, over the boards of model.c.
 *
 * Names, signatures and error codes are NVML's, so that nvidia-ml-py loads it unchanged.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "model.h"

enum {
    SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 6, INSUFFICIENT_SIZE,
    DRIVER_NOT_LOADED = 9, TIMEOUT, FUNCTION_NOT_FOUND = 13, GPU_IS_LOST = 15, LIB_RM_VERSION_MISMATCH = 18,
    UNKNOWN = 999
};
enum { VALUE_UINT = 1, VALUE_ULONGLONG = 3 };
enum { FIELD_ENERGY = 83, FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186, SCOPE_GPU = 0, SCOPE_MODULE = 1 };

typedef uintptr_t handle_t; /* 0x1000 * (board + 1), and in the lower digits slice + 1 for a MIG device */
typedef union { double d; unsigned int ui; unsigned long long ull; } value_t;
typedef struct { unsigned long long time_us; value_t value; } sample_t;
typedef struct {
    unsigned int field, scope;
    long long time_us, latency_us;
    unsigned int type;
    int code;
    value_t value;
} field_value_t;
typedef struct { const machine_t *machine; const board_t *board; const slice_t *slice; double time_s; } view_t;

static atomic_int users;
static atomic_llong calls;

int standin_users(void) { return users; }

long long standin_calls(void) { return calls; }

/* Resolve a handle, unless the call must fail. */
static int look(handle_t device, int call, view_t *v) {
    calls++;
    unsigned int board = (unsigned int)(device / 0x1000) - 1, slice = (unsigned int)(device % 0x1000);
    v->machine = the_machine();
    if (!users || !v->machine) return UNINITIALIZED;
    if (!device || board >= (unsigned int)v->machine->board_count) return INVALID_ARGUMENT;
    v->board = &v->machine->boards[board];
    if (slice > (unsigned int)v->board->slice_count) return INVALID_ARGUMENT;
    v->slice = slice ? &v->board->slices[slice - 1] : NULL;
    take_time(v->board);
    v->time_s = now_s(v->machine);
    if (v->slice && call >= CALL_ENERGY) return NOT_SUPPORTED;
    return fault_at(v->board, call, v->time_s);
}

#define LOOK(call)                          \
    view_t v;                               \
    int code = look(device, call, &v);      \
    if (code) return code

static int put(char *to, unsigned int length, const char *text) {
    return snprintf(to, length, "%s", text) < (int)length ? SUCCESS : INSUFFICIENT_SIZE;
}

/* ---- library ---- */

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    const machine_t *machine = the_machine();
    if (!machine) return DRIVER_NOT_LOADED;
    await_driver(machine);
    if (machine->init_error) return machine->init_error;
    users++;
    return SUCCESS;
}

int nvmlShutdown(void) {
    if (users <= 0) return UNINITIALIZED;
    users--;
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "The operation was successful";
    case UNINITIALIZED: return "NVML was not first initialized with nvmlInit()";
    case INVALID_ARGUMENT: return "A supplied argument is invalid";
    case NOT_SUPPORTED: return "The requested operation is not available on target device";
    case NO_PERMISSION: return "The current user does not have permission for operation";
    case NOT_FOUND: return "A query to find an object was unsuccessful";
    case DRIVER_NOT_LOADED: return "NVIDIA driver is not loaded";
    case TIMEOUT: return "User provided timeout passed";
    case GPU_IS_LOST: return "The GPU has fallen off the bus or has otherwise become inaccessible";
    case LIB_RM_VERSION_MISMATCH: return "Driver/library version mismatch";
    default: return "An internal driver error occurred";
    }
}

int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    return users && the_machine() ? put(version, length, the_machine()->driver) : UNINITIALIZED;
}

int nvmlSystemGetNVMLVersion(char *version, unsigned int length) { return put(version, length, "13.0"); }

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 13000;
    return SUCCESS;
}

/* ---- boards ---- */

int nvmlDeviceGetCount_v2(unsigned int *count) {
    if (!users || !the_machine()) return UNINITIALIZED;
    const machine_t *machine = the_machine();
    *count = machine->reported_count ? (unsigned int)machine->reported_count : (unsigned int)machine->board_count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, handle_t *out) {
    handle_t device = 0x1000 * ((handle_t)index + 1);
    LOOK(CALL_HANDLE);
    *out = device;
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, handle_t *out) {
    const machine_t *machine = the_machine();
    if (!users || !machine) return UNINITIALIZED;
    for (int i = 0; i < machine->board_count; i++) {
        if (!strcmp(machine->boards[i].uuid, uuid)) return nvmlDeviceGetHandleByIndex_v2((unsigned int)i, out);
        for (int j = 0; j < machine->boards[i].slice_count; j++)
            if (!strcmp(machine->boards[i].slices[j].uuid, uuid)) {
                *out = 0x1000 * ((handle_t)i + 1) + (handle_t)j + 1;
                return SUCCESS;
            }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, handle_t *out) {
    const machine_t *machine = the_machine();
    if (!users || !machine) return UNINITIALIZED;
    for (int i = 0; i < machine->board_count; i++)
        if (!strcmp(machine->boards[i].pci, pci)) return nvmlDeviceGetHandleByIndex_v2((unsigned int)i, out);
    return NOT_FOUND;
}

int nvmlDeviceGetIndex(handle_t device, unsigned int *index) {
    LOOK(CALL_ANY);
    *index = (unsigned int)(device % 0x1000 ? device % 0x1000 - 1 : device / 0x1000 - 1);
    return SUCCESS;
}

int nvmlDeviceGetName(handle_t device, char *name, unsigned int length) {
    LOOK(CALL_ANY);
    if (!v.slice) return put(name, length, v.board->name);
    char text[3 * TEXT];
    snprintf(text, sizeof text, "%s MIG %dg.%dgb", v.board->name, v.slice->gpu_slices, v.slice->memory_mb / 1000);
    return put(name, length, text);
}

int nvmlDeviceGetUUID(handle_t device, char *uuid, unsigned int length) {
    LOOK(CALL_ANY);
    return put(uuid, length, v.slice ? v.slice->uuid : v.board->uuid);
}

int nvmlDeviceGetPciInfo_v3(handle_t device, void *info) {
    LOOK(CALL_ANY);
    struct { char legacy[16]; unsigned int domain, bus, device, id, subsystem; char bus_id[32]; } *pci = info;
    memset(pci, 0, sizeof *pci);
    sscanf(v.board->pci, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    snprintf(pci->bus_id, sizeof pci->bus_id, "%.31s", v.board->pci);
    snprintf(pci->legacy, sizeof pci->legacy, "%.12s", strlen(v.board->pci) > 4 ? v.board->pci + 4 : v.board->pci);
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(handle_t device, int *major, int *minor) {
    LOOK(CALL_ANY);
    *major = v.board->capability_major;
    *minor = v.board->capability_minor;
    return SUCCESS;
}

#define NUMBER(function, type, expression)      \
    int function(handle_t device, type *out) {  \
        LOOK(CALL_ANY);                         \
        *out = (type)(expression);              \
        return SUCCESS;                         \
    }

NUMBER(nvmlDeviceGetArchitecture, unsigned int, v.board->architecture)
NUMBER(nvmlDeviceGetNumGpuCores, unsigned int, v.board->cores)
NUMBER(nvmlDeviceGetMinorNumber, unsigned int, device / 0x1000 - 1)
NUMBER(nvmlDeviceGetPersistenceMode, unsigned int, 1)
NUMBER(nvmlDeviceGetComputeMode, unsigned int, 0)
NUMBER(nvmlDeviceGetVirtualizationMode, unsigned long long, 0)
NUMBER(nvmlDeviceGetPowerManagementLimit, unsigned int, v.board->power_limit_w * 1e3)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned int, v.board->power_limit_w * 1e3)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned int, v.board->power_limit_w * 1e3)

int nvmlDeviceGetPowerManagementLimitConstraints(handle_t device, unsigned int *least_mw, unsigned int *most_mw) {
    *least_mw = 100000;
    return nvmlDeviceGetPowerManagementLimit(device, most_mw);
}

int nvmlDeviceGetC2cModeInfoV(handle_t device, unsigned int *enabled) {
    LOOK(CALL_ANY);
    *enabled = (unsigned int)v.board->module_scope;
    return v.board->module_scope ? SUCCESS : NOT_SUPPORTED;
}

/* ---- utilisation: approximated by power as a share of the power limit ---- */

static unsigned int percent(const view_t *v) {
    double watts = (true_j(v->board, v->time_s) - true_j(v->board, v->time_s - 0.1)) / 0.1;
    return (unsigned int)(watts >= v->board->power_limit_w ? 100 : 100 * watts / v->board->power_limit_w);
}

NUMBER(nvmlDeviceGetUtilizationRates, unsigned int, (out[1] = percent(&v) / 2, percent(&v)))

int nvmlDeviceGetTemperature(handle_t device, int sensor, unsigned int *out) {
    LOOK(CALL_ANY);
    *out = 30 + percent(&v) / 2;
    return sensor ? INVALID_ARGUMENT : SUCCESS;
}

int nvmlDeviceGetTemperatureV(handle_t device, int *version_sensor_value) {
    return nvmlDeviceGetTemperature(device, version_sensor_value[1], (unsigned int *)version_sensor_value + 2);
}

int nvmlDeviceGetClockInfo(handle_t device, int type, unsigned int *out) {
    LOOK(CALL_ANY);
    (void)type;
    *out = (unsigned int)v.board->clock_mhz;
    return SUCCESS;
}

int nvmlDeviceGetMaxClockInfo(handle_t device, int type, unsigned int *out) {
    return nvmlDeviceGetClockInfo(device, type, out);
}

NUMBER(nvmlDeviceGetMemoryInfo, unsigned long long,
       (out[1] = (unsigned long long)(v.board->memory_bytes * 0.75),
        out[2] = (unsigned long long)(v.board->memory_bytes * 0.25), v.board->memory_bytes))

typedef struct { unsigned int pid; unsigned long long memory; unsigned int gpu, compute; } process_t;

int nvmlDeviceGetComputeRunningProcesses_v3(handle_t device, unsigned int *count, process_t *processes) {
    LOOK(CALL_ANY);
    unsigned int room = *count;
    *count = (unsigned int)v.board->process_count;
    if (*count > room) return INSUFFICIENT_SIZE;
    for (unsigned int i = 0; i < *count; i++) {
        int pid = v.board->processes[i]; /* 0: the calling process */
        int place = v.board->process_slices[i];
        processes[i] = (process_t){(unsigned int)(pid ? pid : getpid()), 1u << 30, ~0u, ~0u};
        if (place < 0) continue;
        processes[i].gpu = (unsigned int)v.board->slices[place].gpu_instance;
        processes[i].compute = (unsigned int)v.board->slices[place].compute_instance;
    }
    return SUCCESS;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(handle_t device, unsigned int *count, process_t *processes) {
    LOOK(CALL_ANY);
    (void)processes;
    *count = 0;
    return SUCCESS;
}

int nvmlDeviceGetProcessUtilization(handle_t device, void *out, unsigned int *count, unsigned long long since_us) {
    LOOK(CALL_ANY);
    struct { unsigned int pid; unsigned long long time_us; unsigned int sm, memory, encoder, decoder; } *samples = out;
    unsigned int room = samples ? *count : 0;
    if (!v.board->process_utilisation) return NOT_SUPPORTED;
    *count = (unsigned int)v.board->process_count;
    if (!*count || wall_us(v.machine, v.time_s) <= since_us) return NOT_FOUND;
    if (*count > room) return INSUFFICIENT_SIZE;
    for (unsigned int i = 0; i < *count; i++) {
        int pid = v.board->processes[i];
        samples[i].pid = (unsigned int)(pid ? pid : getpid());
        samples[i].time_us = wall_us(v.machine, v.time_s);
        double share = v.board->process_shares[i];
        samples[i].sm = (unsigned int)(percent(&v) * (share < 0 ? 1.0 / *count : share));
        samples[i].memory = samples[i].encoder = samples[i].decoder = 0;
    }
    return SUCCESS;
}

/* ---- MIG ---- */

int nvmlDeviceGetMigMode(handle_t device, unsigned int *mode, unsigned int *pending) {
    LOOK(CALL_ANY);
    if (v.board->mig < 0) return NOT_SUPPORTED;
    *mode = *pending = (unsigned int)v.board->mig;
    return SUCCESS;
}

NUMBER(nvmlDeviceGetMaxMigDeviceCount, unsigned int, v.board->mig > 0 ? v.board->max_slices : 0)
NUMBER(nvmlDeviceIsMigDeviceHandle, unsigned int, v.slice != NULL)

int nvmlDeviceGetMigDeviceHandleByIndex(handle_t device, unsigned int index, handle_t *out) {
    LOOK(CALL_HANDLE);
    if (v.slice) return INVALID_ARGUMENT;
    if (index >= (unsigned int)v.board->slice_count) return NOT_FOUND;
    *out = device + index + 1;
    return SUCCESS;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle_t device, handle_t *out) {
    LOOK(CALL_HANDLE);
    *out = device - device % 0x1000;
    return v.slice ? SUCCESS : INVALID_ARGUMENT;
}

#define SLICE_NUMBER(function, expression)              \
    int function(handle_t device, unsigned int *out) {  \
        LOOK(CALL_ANY);                                 \
        if (!v.slice) return NOT_SUPPORTED;             \
        *out = (unsigned int)(expression);              \
        return SUCCESS;                                 \
    }

SLICE_NUMBER(nvmlDeviceGetGpuInstanceId, v.slice->gpu_instance)
SLICE_NUMBER(nvmlDeviceGetComputeInstanceId, v.slice->compute_instance)

int nvmlDeviceGetAttributes_v2(handle_t device, void *out) {
    LOOK(CALL_ANY);
    if (!v.slice) return NOT_SUPPORTED;
    struct { unsigned int multiprocessors, engines[5], gpu_slices, compute_slices; unsigned long long memory_mb; } a = {
        (unsigned int)v.slice->multiprocessors, {1, 0, 0, 0, 0}, (unsigned int)v.slice->gpu_slices,
        (unsigned int)v.slice->compute_slices, (unsigned long long)v.slice->memory_mb};
    memcpy(out, &a, sizeof a);
    return SUCCESS;
}

/* ---- power and energy ---- */

static unsigned int power_mw(const view_t *v, double window_s) {
    int64_t index;
    double renewal_s = renewed_s(v->time_s, v->board->power_refresh_s, v->board->power_phase_s, &index);
    return sensed_mw(v->board, renewal_s, index, window_s);
}

int nvmlDeviceGetPowerUsage(handle_t device, unsigned int *milliwatts) {
    LOOK(CALL_POWER);
    *milliwatts = power_mw(&v, v.board->power_window_s);
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(handle_t device, unsigned long long *millijoules) {
    LOOK(CALL_ENERGY);
    if (v.board->counter_refresh_s <= 0) return NOT_SUPPORTED;
    *millijoules = counted_mj(v.board, v.time_s);
    return SUCCESS;
}

/* Without a buffer, return the maximum number of samples; otherwise the samples newer than the given time. */
int nvmlDeviceGetSamples(handle_t device, int type, unsigned long long last_us, int *value_type, unsigned int *count,
                         sample_t *samples) {
    LOOK(CALL_SAMPLES);
    unsigned int room = *count, found = 0;
    if (type != 0 || !v.board->samples) return NOT_SUPPORTED;
    *value_type = VALUE_UINT;
    *count = (unsigned int)v.board->samples;
    if (!samples) return SUCCESS;
    int64_t newest;
    renewed_s(v.time_s, v.board->power_refresh_s, v.board->power_phase_s, &newest);
    for (int i = 0; i < v.board->samples && found < room; i++) {
        /* newest first, with duplicates, already returned samples and one of 1970 */
        int untidy = v.board->samples_untidy;
        int64_t number = untidy ? newest - i + i / 5 : newest - v.board->samples + 1 + i;
        double time_s = v.board->power_phase_s + (double)number * v.board->power_refresh_s;
        uint64_t stamp_us = v.board->samples_ahead_s <= -1e9 ? 0 : wall_us(v.machine, time_s + v.board->samples_ahead_s);
        if (stamp_us <= last_us && !untidy) continue;
        samples[found].time_us = untidy && i == v.board->samples - 1 ? 1 : stamp_us;
        samples[found++].value.ui = sensed_mw(v.board, time_s, number, v.board->power_window_s);
    }
    *count = found;
    return found ? SUCCESS : NOT_FOUND;
}

static void read_field(const view_t *v, field_value_t *f) {
    int scope_known = f->scope == SCOPE_GPU || (f->scope == SCOPE_MODULE && v->board->module_scope);
    f->time_us = (long long)wall_us(v->machine, v->time_s);
    f->latency_us = (long long)v->board->latency_us;
    f->type = VALUE_UINT;
    f->code = v->slice || !scope_known ? NOT_SUPPORTED : fault_at(v->board, CALL_POWER, v->time_s);
    if (f->field == FIELD_ENERGY) {
        f->type = VALUE_ULONGLONG;
        int counts = !v->slice && v->board->counter_refresh_s > 0;
        f->code = counts ? fault_at(v->board, CALL_ENERGY, v->time_s) : NOT_SUPPORTED;
        if (!f->code) f->value.ull = counted_mj(v->board, v->time_s);
    } else if (f->field == FIELD_POWER_AVERAGE && !f->code) {
        f->value.ui = power_mw(v, v->board->power_window_s);
    } else if (f->field == FIELD_POWER_INSTANT && !f->code) {
        f->value.ui = power_mw(v, v->board->instant_window_s);
    } else if (!f->code) {
        f->code = NOT_SUPPORTED;
    }
}

int nvmlDeviceGetFieldValues(handle_t device, int count, field_value_t *values) {
    LOOK(CALL_ANY);
    for (int i = 0; i < count; i++) read_field(&v, &values[i]);
    return SUCCESS;
}

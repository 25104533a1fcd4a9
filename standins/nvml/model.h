/* Simulated machine: its boards, their true power, and the readings of their sensors.
 *
 * Times in seconds count from the machine's origin; energy in joules, power in watts.
 */
#ifndef STANDIN_NVML_MODEL_H
#define STANDIN_NVML_MODEL_H

#include <stdint.h>

enum { MAX_BOARDS = 16, MAX_WAVES = 8, MAX_FAULTS = 8, MAX_SLICES = 8, MAX_PROCESSES = 8, TEXT = 96 };
enum { CALL_ANY, CALL_HANDLE, CALL_ENERGY, CALL_POWER, CALL_SAMPLES };

typedef struct {
    int count;       /* 0: a ramp from watts[0] to watts[1] between start_s and start_s + length_s */
    double start_s;  /* of the first step, or of the ramp */
    double length_s; /* after which the steps repeat, or the ramp is over */
    double *end_s, *watts, *joules; /* of each step: its end, its power, the energy up to its end */
    double ramp_w[2];
} wave_t;

typedef struct {
    int call, code;
    double from_s, to_s;
} fault_t;

typedef struct {
    char uuid[TEXT];
    int gpu_instance, compute_instance, multiprocessors, gpu_slices, compute_slices, memory_mb;
} slice_t;

typedef struct {
    char name[TEXT], uuid[TEXT], pci[TEXT];
    wave_t waves[MAX_WAVES];
    fault_t faults[MAX_FAULTS];
    slice_t slices[MAX_SLICES];
    int processes[MAX_PROCESSES], process_slices[MAX_PROCESSES]; /* index of the slice; -1: none */
    double process_shares[MAX_PROCESSES]; /* share of the board's work; negative: equal shares */
    int wave_count, fault_count, slice_count, process_count;
    int architecture, capability_major, capability_minor, cores, clock_mhz;
    int mig, max_slices, module_scope, samples, samples_untidy, latency_busy, process_utilisation;
    double power_refresh_s, power_window_s, instant_window_s, power_phase_s, noise_w, gain, power_limit_w;
    double counter_refresh_s, counter_phase_s, counter_start_j, counter_frozen_s, counter_reset_s;
    double counter_misread_j, counter_misread_from_s, counter_misread_to_s;
    double power_misread_w, power_misread_from_s, power_misread_to_s, samples_ahead_s;
    double latency_us, memory_bytes, hang_from_s, hang_to_s;
} board_t;

typedef struct {
    board_t boards[MAX_BOARDS];
    int board_count, init_error, reported_count; /* 0: board_count; -1: 2^32 - 1 */
    double init_hang_to_s, origin_s, wall_step_at_s, wall_step_s;
    int64_t wall_offset_us;
    char driver[TEXT];
} machine_t;

/* Current machine; NULL if none was described. Never freed, because another thread may still read it. */
machine_t *the_machine(void);

/* Parse a description. Return 0, or the number of the first invalid line. */
int describe(const char *text);

/* Seconds since the origin. */
double now_s(const machine_t *machine);

/* Microseconds since the Unix epoch at such a time. */
uint64_t wall_us(const machine_t *machine, double time_s);

/* True energy since the origin. */
double true_j(const board_t *board, double time_s);

/* Time of the last update of a periodically updated value; the number of the update in *index. */
double renewed_s(double time_s, double period_s, double phase_s, int64_t *index);

/* Reading of the power sensor: mean of a trailing window with noise, in milliwatts. */
unsigned int sensed_mw(const board_t *board, double renewal_s, int64_t index, double window_s);

/* Reading of the energy counter, in millijoules. */
uint64_t counted_mj(const board_t *board, double time_s);

/* NVML error code of a kind of call at a time, or 0. */
int fault_at(const board_t *board, int call, double time_s);

/* Block `nvmlInit` as long as the machine's driver hangs. */
void await_driver(const machine_t *machine);

/* Delay a call by the latency of the board's driver. */
void take_time(const board_t *board);

#endif

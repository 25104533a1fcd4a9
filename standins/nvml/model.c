#include "model.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef double (*clock_fn)(void);

static machine_t *current;
static clock_fn monotonic_clock, wall_clock;

static double read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

machine_t *the_machine(void) { return current; }

double now_s(const machine_t *machine) {
    return (monotonic_clock ? monotonic_clock() : read_clock(CLOCK_MONOTONIC)) - machine->origin_s;
}

uint64_t wall_us(const machine_t *machine, double time_s) {
    int64_t offset_us = machine->wall_offset_us; /* fixed, so that a sample keeps its timestamp */
    if (wall_clock) offset_us = llround((wall_clock() - monotonic_clock()) * 1e6);
    if (time_s < machine->wall_step_at_s && now_s(machine) >= machine->wall_step_at_s)
        offset_us -= llround(machine->wall_step_s * 1e6);
    return (uint64_t)(llround((time_s + machine->origin_s) * 1e6) + offset_us);
}

/* ---- power and energy ---- */

static double steps_j(const wave_t *w, double time_s) {
    double turns = floor((time_s - w->start_s) / w->length_s);
    double rest_s = time_s - w->start_s - turns * w->length_s;
    int low = 0, high = w->count - 1;
    while (low < high) { /* find the step at this moment */
        int middle = (low + high) / 2;
        if (rest_s < w->end_s[middle]) high = middle;
        else low = middle + 1;
    }
    return turns * w->joules[w->count - 1] + w->joules[low] - w->watts[low] * (w->end_s[low] - rest_s);
}

static double ramp_j(const wave_t *w, double time_s) {
    double x = time_s - w->start_s, inside = fmin(fmax(x, 0.0), w->length_s);
    double before_j = w->ramp_w[0] * fmin(x, 0.0), after_j = w->ramp_w[1] * fmax(x - w->length_s, 0.0);
    double slope = (w->ramp_w[1] - w->ramp_w[0]) / w->length_s;
    return before_j + w->ramp_w[0] * inside + slope * inside * inside / 2 + after_j;
}

static double wave_j(const wave_t *w, double time_s) { return w->count ? steps_j(w, time_s) : ramp_j(w, time_s); }

double true_j(const board_t *board, double time_s) {
    double joules = 0;
    for (int i = 0; i < board->wave_count; i++)
        joules += wave_j(&board->waves[i], time_s) - wave_j(&board->waves[i], 0.0);
    return joules;
}

double renewed_s(double time_s, double period_s, double phase_s, int64_t *index) {
    double number = floor((time_s - phase_s) / period_s + 1e-9);
    if (index) *index = (int64_t)number;
    return phase_s + number * period_s;
}

static double noise(uint64_t x) { /* splitmix64, to -1 ... 1 */
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (double)((x ^ (x >> 31)) >> 11) / 4503599627370496.0 - 1.0;
}

unsigned int sensed_mw(const board_t *board, double renewal_s, int64_t index, double window_s) {
    if (board->power_misread_from_s <= renewal_s && renewal_s < board->power_misread_to_s) {
        double misread_mw = board->power_misread_w * 1e3;
        return misread_mw < 4294967295.0 ? (unsigned int)misread_mw : UINT32_MAX;
    }
    double mean_w = (true_j(board, renewal_s) - true_j(board, renewal_s - window_s)) / window_s;
    double watts = mean_w * board->gain + board->noise_w * noise((uint64_t)index);
    return (unsigned int)llround(fmax(watts, 0.0) * 1e3);
}

uint64_t counted_mj(const board_t *board, double time_s) {
    if (board->counter_misread_from_s <= time_s && time_s < board->counter_misread_to_s)
        return board->counter_misread_j < 1.8e16 ? (uint64_t)(board->counter_misread_j * 1e3) : UINT64_MAX;
    double at_s = renewed_s(time_s, board->counter_refresh_s, board->counter_phase_s, NULL);
    at_s = fmin(at_s, board->counter_frozen_s);
    double joules = board->counter_start_j + true_j(board, at_s);
    if (at_s >= board->counter_reset_s) joules = true_j(board, at_s) - true_j(board, board->counter_reset_s);
    return (uint64_t)(fmax(joules, 0.0) * 1e3);
}

int fault_at(const board_t *board, int call, double time_s) {
    for (int i = 0; i < board->fault_count; i++) {
        const fault_t *f = &board->faults[i];
        if ((f->call == CALL_ANY || f->call == call) && f->from_s <= time_s && time_s < f->to_s) return f->code;
    }
    return 0;
}

/* Unresponsive driver: block every call on the board, in real time, also if the machine is removed meanwhile. */
static void hang(const board_t *board) {
    const machine_t *machine = current;
    if (!machine || now_s(machine) < board->hang_from_s) return;
    while (now_s(machine) < board->hang_to_s) nanosleep(&(struct timespec){0, 5000000}, NULL);
}

void await_driver(const machine_t *machine) {
    while (!monotonic_clock && now_s(machine) < machine->init_hang_to_s)
        nanosleep(&(struct timespec){0, 5000000}, NULL);
}

void take_time(const board_t *board) {
    if (!monotonic_clock) hang(board);
    if (board->latency_us <= 0 || monotonic_clock) return;
    if (board->latency_busy) {
        double end_s = read_clock(CLOCK_MONOTONIC) + board->latency_us * 1e-6;
        while (read_clock(CLOCK_MONOTONIC) < end_s) continue;
    } else {
        struct timespec pause = {(time_t)(board->latency_us / 1e6), (long)(fmod(board->latency_us, 1e6) * 1e3)};
        nanosleep(&pause, NULL);
    }
}

/* ---- description: one ``key values…`` per line; ``board`` begins a board ---- */

typedef struct {
    const char *key, *format; /* format: d number, i whole number, s rest of the line */
    size_t offset;
} field_t;

#define BOARD(key, format) {#key, format, offsetof(board_t, key)}
#define MACHINE(key, format) {#key, format, offsetof(machine_t, key)}

static const field_t BOARD_FIELDS[] = {
    BOARD(name, "s"), BOARD(uuid, "s"), BOARD(pci, "s"),
    BOARD(architecture, "i"), BOARD(capability_major, "i"), BOARD(capability_minor, "i"), BOARD(cores, "i"),
    BOARD(clock_mhz, "i"), BOARD(mig, "i"), BOARD(max_slices, "i"), BOARD(module_scope, "i"), BOARD(samples, "i"),
    BOARD(samples_untidy, "i"), BOARD(latency_busy, "i"), BOARD(process_utilisation, "i"),
    BOARD(power_refresh_s, "d"), BOARD(power_window_s, "d"), BOARD(instant_window_s, "d"), BOARD(power_phase_s, "d"),
    BOARD(noise_w, "d"), BOARD(gain, "d"), BOARD(power_limit_w, "d"), BOARD(counter_refresh_s, "d"),
    BOARD(counter_phase_s, "d"), BOARD(counter_start_j, "d"), BOARD(counter_frozen_s, "d"),
    BOARD(counter_reset_s, "d"), BOARD(counter_misread_j, "d"), BOARD(counter_misread_from_s, "d"),
    BOARD(counter_misread_to_s, "d"), BOARD(latency_us, "d"), BOARD(memory_bytes, "d"),
    BOARD(power_misread_w, "d"), BOARD(power_misread_from_s, "d"), BOARD(power_misread_to_s, "d"),
    BOARD(samples_ahead_s, "d"), BOARD(hang_from_s, "d"), BOARD(hang_to_s, "d"), {NULL, NULL, 0}};

static const field_t MACHINE_FIELDS[] = {
    MACHINE(driver, "s"), MACHINE(init_error, "i"), MACHINE(reported_count, "i"), MACHINE(init_hang_to_s, "d"),
    MACHINE(origin_s, "d"), MACHINE(wall_step_at_s, "d"),
    MACHINE(wall_step_s, "d"), {NULL, NULL, 0}};

static int set_field(const field_t *fields, void *object, const char *key, const char *values) {
    for (const field_t *f = fields; f->key; f++) {
        if (strcmp(f->key, key)) continue;
        char *at = (char *)object + f->offset, *end = NULL;
        if (*f->format == 's') return snprintf(at, TEXT, "%s", values) < TEXT;
        if (*f->format == 'i') *(int *)at = (int)strtol(values, &end, 10);
        else *(double *)at = strtod(values, &end);
        return end != values && *end == '\0';
    }
    return 0;
}

/* ``steps START LENGTH:WATTS LENGTH:WATTS …``, repeated. */
static int add_steps(board_t *board, const char *values) {
    wave_t *w = &board->waves[board->wave_count];
    char *at;
    size_t room = 1;
    for (const char *c = values; *c; c++) room += *c == ':';
    w->end_s = calloc(3 * room, sizeof(double));
    w->watts = w->end_s + room;
    w->joules = w->watts + room;
    w->start_s = strtod(values, &at);
    double time_s = 0, joules = 0;
    while (*at == ' ') {
        double length_s = strtod(at, &at);
        if (*at != ':' || length_s <= 0) return 0;
        double watts = strtod(at + 1, &at);
        w->end_s[w->count] = time_s += length_s;
        w->watts[w->count] = watts;
        w->joules[w->count++] = joules += length_s * watts;
    }
    w->length_s = time_s;
    board->wave_count++;
    return *at == '\0' && w->count > 0;
}

/* ``ramp START LENGTH FROM TO`` */
static int add_ramp(board_t *board, const char *values) {
    wave_t *w = &board->waves[board->wave_count++];
    return sscanf(values, "%lf %lf %lf %lf", &w->start_s, &w->length_s, &w->ramp_w[0], &w->ramp_w[1]) == 4;
}

/* ``fault CALL CODE FROM TO`` */
static int add_fault(board_t *board, const char *values) {
    static const char *const calls[] = {"any", "handle", "energy", "power", "samples"};
    fault_t *f = &board->faults[board->fault_count++];
    char call[TEXT];
    if (sscanf(values, "%95s %d %lf %lf", call, &f->code, &f->from_s, &f->to_s) != 4) return 0;
    for (f->call = CALL_ANY; f->call <= CALL_SAMPLES; f->call++)
        if (!strcmp(call, calls[f->call])) return 1;
    return 0;
}

/* ``slice UUID GPU_INSTANCE COMPUTE_INSTANCE MULTIPROCESSORS GPU_SLICES COMPUTE_SLICES MEMORY_MB`` */
static int add_slice(board_t *board, const char *values) {
    slice_t *s = &board->slices[board->slice_count++];
    return sscanf(values, "%95s %d %d %d %d %d %d", s->uuid, &s->gpu_instance, &s->compute_instance,
                  &s->multiprocessors, &s->gpu_slices, &s->compute_slices, &s->memory_mb) == 7;
}

static int read_line(machine_t *machine, const char *key, const char *values) {
    if (!strcmp(key, "board")) return machine->board_count++ < MAX_BOARDS;
    if (!machine->board_count) return set_field(MACHINE_FIELDS, machine, key, values);
    board_t *board = &machine->boards[machine->board_count - 1];
    if (!strcmp(key, "steps")) return board->wave_count < MAX_WAVES && add_steps(board, values);
    if (!strcmp(key, "ramp")) return board->wave_count < MAX_WAVES && add_ramp(board, values);
    if (!strcmp(key, "fault")) return board->fault_count < MAX_FAULTS && add_fault(board, values);
    if (!strcmp(key, "slice")) return board->slice_count < MAX_SLICES && add_slice(board, values);
    if (strcmp(key, "process")) return set_field(BOARD_FIELDS, board, key, values);
    if (board->process_count == MAX_PROCESSES) return 0;
    int number = board->process_count++;
    return sscanf(values, "%d %lf %d", &board->processes[number], &board->process_shares[number],
                  &board->process_slices[number]) == 3 && board->process_slices[number] < board->slice_count;
}

int describe(const char *text) {
    machine_t *machine = calloc(1, sizeof *machine);
    char *copy = strdup(text), *rest = NULL;
    int number = 0;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        number++;
        char *values = strchr(line, ' ');
        if (values) *values++ = '\0';
        if (!read_line(machine, line, values ? values : "")) {
            free(copy);
            return number;
        }
    }
    free(copy);
    machine->wall_offset_us = llround((read_clock(CLOCK_REALTIME) - read_clock(CLOCK_MONOTONIC)) * 1e6);
    current = machine;
    return 0;
}

/* ---- exported for the Python side ---- */

int standin_describe(const char *text) { return describe(text); }

void standin_remove(void) { current = NULL; }

void standin_set_clocks(clock_fn monotonic, clock_fn wall) {
    wall_clock = NULL;
    monotonic_clock = monotonic;
    wall_clock = wall;
}

double standin_true_j(int board, double from_s, double to_s) {
    const board_t *b = &current->boards[board];
    return true_j(b, to_s - current->origin_s) - true_j(b, from_s - current->origin_s);
}

__attribute__((constructor)) static void read_description(void) {
    const char *path = getenv("STANDIN_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return;
    static char text[1 << 20];
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    int line = describe(text);
    if (line) fprintf(stderr, "stand-in NVML: %s:%d: not understood\n", path, line);
}

#include "runtime/serving/ranks.h"

#include <stdio.h>

#include "runtime/serving/engine_internal.h"
#include "runtime/serving/host_memory.h"

enum {
    N_AGREEMENTS = 2,
    N_NUMBERS = 13,
    START_MS = 1800 * 1000 /* a large model from a slow disk */
};

/* What a rank says of itself. */
typedef struct report {
    int32_t status;
    int32_t numbers[N_NUMBERS];
    uint64_t bytes;
} report;

static const char *const number_names[N_NUMBERS] = {"dtype",
                                                    "dtype of the cache",
                                                    "max_model_len",
                                                    "max_num_seqs",
                                                    "max_num_batched_tokens",
                                                    "block_size",
                                                    "pages",
                                                    "quant",
                                                    "quant of the head",
                                                    "hidden",
                                                    "layers",
                                                    "ffn",
                                                    "vocab"};

static report report_of(sa2_status st, const sa2_engine_plan *p)
{
    const sa2_decoder_config *c = &p->decoder;
    return (report){.status = (int32_t)st,
                    .numbers = {(int32_t)p->activations, (int32_t)p->kv_dtype, p->max_model_len,
                                p->max_num_seqs, p->max_rows, p->page_size, p->n_pages,
                                (int32_t)p->quant.layers, (int32_t)p->quant.head, c->hidden,
                                c->layers, c->ffn, c->vocab},
                    .bytes = p->sum};
}

static sa2_status compare(const report *all, int rank, int size, sa2_error *err)
{
    for (int i = 0; i < size; i++)
        if (all[i].status != SA2_OK)
            return sa2_fail(err, SA2_ERR_DEVICE,
                            "rank %d of %d: rank %d cannot take part; it says why", rank, size, i);
    for (int i = 0; i < size; i++)
        for (int k = 0; k < N_NUMBERS; k++)
            if (all[i].numbers[k] != all[rank].numbers[k])
                return sa2_fail(
                    err, SA2_ERR_ARG,
                    "%s: %d on rank %d, %d on rank %d; all ranks are to be started with "
                    "the same model and options",
                    number_names[k], all[rank].numbers[k], rank, all[i].numbers[k], i);
    return SA2_OK;
}

static sa2_status agree(sa2_agreement *a, sa2_status st, const sa2_engine_plan *plan, report *all,
                        sa2_error *err)
{
    if (a->comm == NULL || a->n >= N_AGREEMENTS)
        return st;
    report mine = report_of(st, plan);
    sa2_status told = sa2_comm_tell_all(a->comm, "the start", &mine, all, sizeof mine, START_MS,
                                        st == SA2_OK ? err : NULL);
    if (st == SA2_OK)
        st = told;
    if (st == SA2_OK)
        st = compare(all, sa2_comm_rank(a->comm), sa2_comm_size(a->comm), err);
    a->n = st == SA2_OK ? a->n + 1 : N_AGREEMENTS;
    return st;
}

sa2_status sa2_ranks_agree(sa2_agreement *a, sa2_status st, const sa2_engine_plan *plan,
                           sa2_error *err)
{
    report all[SA2_MAX_RANKS];
    return agree(a, st, plan, all, err);
}

/* Each rank's bytes, and their sum where they share a machine. */
static size_t print_ranks(const sa2_comm *comm, const sa2_engine_options *o, const report *all)
{
    char line[128];
    size_t sum = 0;
    for (int i = 0; i < sa2_comm_size(comm); i++) {
        snprintf(line, sizeof line, "memory: rank %-10d %10.1f MB", i, (double)all[i].bytes * 1e-6);
        if (o->log != NULL)
            o->log(o->context, line);
        sum += (size_t)all[i].bytes;
    }
    snprintf(line, sizeof line, "ranks: %d, by %s", sa2_comm_size(comm), sa2_comm_name(comm));
    if (o->log != NULL)
        o->log(o->context, line);
    return sum;
}

sa2_status sa2_ranks_plan(sa2_agreement *a, sa2_engine_plan *plan, const sa2_engine_options *o,
                          const sa2_model *model, const sa2_token2wav *t, sa2_error *err)
{
    report all[SA2_MAX_RANKS];
    sa2_status st = sa2_engine_plan_make(plan, o, model, t, model->backend, err);
    if (st == SA2_OK)
        sa2_engine_plan_print(plan, o);
    st = agree(a, st, plan, all, err);
    if (st != SA2_OK)
        return st;
    size_t others = a->comm != NULL ? print_ranks(a->comm, o, all) - plan->sum : 0;
    size_t here = sa2_host_memory_bytes();
    if (a->comm != NULL && sa2_comm_one_machine(a->comm))
        here = here > others ? here - others : 0;
    return sa2_engine_plan_check(plan, here, err);
}

int64_t sa2_ranks_beat_ms(const sa2_comm *comm)
{
    return sa2_comm_timeout_ms(comm) / 2;
}

/* ---- ranks other than 0 ---- */

static sa2_status follow(sa2_machine *m, sa2_error *err)
{
    bool end = false;
    sa2_status st = SA2_OK;
    while (st == SA2_OK && !end)
        st = sa2_step_follow(m->step, m->stream, &m->work, &end, err);
    return st;
}

static sa2_status take_part(sa2_agreement *a, const sa2_engine_plan *plan, const sa2_model *model,
                            const sa2_engine_options *o, sa2_error *err)
{
    sa2_machine machine = {0};
    sa2_status st = sa2_machine_create(&machine, plan, o, model, err);
    st = sa2_ranks_agree(a, st, plan, err);
    if (st == SA2_OK)
        st = follow(&machine, err);
    sa2_machine_destroy(&machine);
    return st;
}

sa2_status sa2_engine_follow_model(const sa2_model *model, const sa2_engine_options *o,
                                   sa2_error *err)
{
    sa2_agreement agreement = {.comm = o->comm};
    sa2_engine_plan plan = {0};
    sa2_status st = sa2_ranks_plan(&agreement, &plan, o, model, NULL, err);
    if (st == SA2_OK)
        st = take_part(&agreement, &plan, model, o, err);
    return sa2_ranks_agree(&agreement, st, &plan, NULL);
}

typedef struct follower {
    sa2_engine_options options;
    sa2_agreement agreement;
    sa2_engine_plan plan;
} follower;

static sa2_status plan_follower(void *context, const sa2_model *model, sa2_error *err)
{
    follower *f = context;
    return sa2_ranks_plan(&f->agreement, &f->plan, &f->options, model, NULL, err);
}

sa2_status sa2_engine_follow(const char *path, const sa2_engine_options *options, sa2_error *err)
{
    follower f = {.options = *options, .agreement = {.comm = options->comm}};
    sa2_backend *backend = NULL;
    sa2_model model = {0};
    const sa2_backend_options device = sa2_engine_plan_device(options);
    sa2_model_options loading = sa2_engine_plan_model(options);
    loading.measured = plan_follower;
    loading.context = &f;
    sa2_status st = sa2_backend_open(&backend, &device, err);
    if (st == SA2_OK)
        st = sa2_model_open(&model, backend, path, &loading, err);
    if (st == SA2_OK)
        st = take_part(&f.agreement, &f.plan, &model, &f.options, err);
    st = sa2_ranks_agree(&f.agreement, st, &f.plan, NULL);
    sa2_model_close(&model);
    sa2_backend_close(backend);
    return st;
}

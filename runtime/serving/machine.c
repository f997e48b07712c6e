#include "runtime/serving/machine.h"

sa2_prompt_setting sa2_machine_prompt_setting(const sa2_engine_plan *plan,
                                              const sa2_engine_options *options,
                                              const sa2_model *model, sa2_encoder *encoder)
{
    return (sa2_prompt_setting){.encoder = encoder,
                                .special = encoder != NULL ? &model->special : NULL,
                                .template = options->template,
                                .literal_user_text = options->literal_user_text,
                                .n_tokens = model->n_token_rows,
                                .max_model_len = plan->max_model_len};
}

static size_t longest_token(const sa2_tokenizer *tokenizer)
{
    size_t longest = 0;
    sa2_token token;
    for (int32_t id = 0; tokenizer != NULL && id < sa2_tokenizer_n_ids(tokenizer); id++)
        if (sa2_tokenizer_token(tokenizer, id, &token) && token.n > longest)
            longest = token.n;
    return longest;
}

static sa2_status take_memory(sa2_machine *m, const sa2_engine_plan *plan, sa2_error *err)
{
    sa2_backend *backend = m->model->backend;
    sa2_status st = sa2_stream_create(&m->stream, backend, plan->scratch, err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(backend, &m->pages, plan->pages, err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(backend, &m->device, plan->device, err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(backend, &m->work, plan->work, err);
    if (st == SA2_OK)
        st = sa2_arena_create(&m->host, plan->host, err);
    if (st == SA2_OK) /* what is planned is there soon: no surprise in the middle of a step */
        sa2_residency_start(&m->residency);
    return st;
}

/* What requests, sound and sampling need, on rank 0. */
static sa2_status create_service(sa2_machine *m, const sa2_engine_plan *plan,
                                 const sa2_engine_options *options, const sa2_model *model,
                                 sa2_error *err)
{
    sa2_kv_cache_options cache = sa2_engine_plan_cache(plan);
    sa2_clip_cache_options clips = sa2_engine_plan_clips(plan, options, model);
    sa2_scheduler_options scheduler = sa2_engine_plan_scheduler(plan, options);
    sa2_generator_options generator = sa2_engine_plan_generator(plan, options, model);
    sa2_status st = sa2_kv_cache_create(&m->cache, &cache, &m->host, err);
    if (st == SA2_OK)
        st = sa2_clip_cache_create(&m->clips, &clips, m->stream, &m->device, &m->host, err);
    scheduler.rows_possible = sa2_clip_cache_promise;
    scheduler.context = m->clips;
    if (st == SA2_OK)
        st = sa2_scheduler_create(&m->scheduler, &scheduler, m->cache, &m->host, err);
    if (st == SA2_OK && model->tokenizer != NULL)
        st = sa2_encoder_create(&m->encoder, model->tokenizer, err);
    m->longest_token = longest_token(model->tokenizer);
    generator.prompt = sa2_machine_prompt_setting(plan, options, model, m->encoder);
    generator.longest_token = m->longest_token;
    generator.scheduler = m->scheduler;
    generator.step = m->step;
    if (st == SA2_OK)
        st = sa2_generator_create(&m->generator, &generator, &m->device, &m->host, err);
    return st;
}

sa2_status sa2_machine_create(sa2_machine *m, const sa2_engine_plan *plan,
                              const sa2_engine_options *options, const sa2_model *model,
                              sa2_error *err)
{
    *m = (sa2_machine){.model = model,
                       .residency = {.arenas = {&m->host, &m->work, &m->device, &m->pages}}};
    sa2_step_options step = sa2_engine_plan_step(plan, options, model);
    sa2_status st = take_memory(m, plan, err);
    if (st == SA2_OK)
        st = sa2_step_create(&m->step, &step, &m->pages, &m->device, &m->host, err);
    if (st == SA2_OK)
        st = sa2_comm_use_device(options->comm, model->backend, m->stream, err);
    m->comm = options->comm;
    if (st == SA2_OK && model->shard.rank == 0)
        st = create_service(m, plan, options, model, err);
    return st == SA2_OK ? st : sa2_wrap(err, st, "engine");
}

void sa2_machine_destroy(sa2_machine *m)
{
    if (m->model == NULL)
        return;
    sa2_backend *backend = m->model->backend;
    sa2_residency_stop(&m->residency);
    sa2_comm_leave_device(m->comm);
    sa2_generator_destroy(m->generator);
    sa2_step_destroy(m->step);
    sa2_encoder_destroy(m->encoder);
    sa2_arena_destroy(&m->host);
    sa2_backend_arena_destroy(backend, &m->work);
    sa2_backend_arena_destroy(backend, &m->device);
    sa2_backend_arena_destroy(backend, &m->pages);
    sa2_stream_destroy(m->stream);
    *m = (sa2_machine){0};
}

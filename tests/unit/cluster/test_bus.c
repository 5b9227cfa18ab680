/* Links between buses over real sockets, by io_uring and by epoll: coming up, messages, limits of queues,
 * links that break, duplicates. Plain text; test_bus_refusals.c has who is not let in. */
#include "tests/unit/cluster/busfix.h"

#include <stdlib.h>

static enum io_kind backend; /* of the group that runs */

static void open_or_skip(struct busfix *f)
{
    if (busfix_open(f, backend)) return;
    print_message("skipped: the kernel refuses io_uring\n");
    skip();
}

static void test_both_dial_and_one_link_stays(void **state)
{
    (void)state;
    struct busfix f;
    open_or_skip(&f);
    busfix_plain(&f, 2);
    busfix_peer(&f, 0, 1);
    busfix_peer(&f, 1, 0);
    busfix_link(&f, 0, 1);
    busfix_steps(&f, 100);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(busfix_stats(&f, i).links, 1);
        assert_int_equal(busfix_stats(&f, i).strangers, 0);
        assert_int_equal(f.at[i].ups, 1);
        assert_int_equal(f.at[i].downs, 0);
    }
    const struct bus_node *seen = bus_find(f.at[0].bus, f.at[1].id);
    assert_true(topo_id_equal(seen->id, f.at[1].id));
    assert_int_equal(seen->version, 1);
    assert_int_equal(seen->incarnation, 1);
    busfix_close(&f);
}

static void test_messages_arrive_whole_and_in_order(void **state)
{
    (void)state;
    struct busfix f;
    open_or_skip(&f);
    busfix_plain(&f, 2);
    busfix_peer(&f, 0, 1);
    busfix_link(&f, 0, 1);
    uint8_t *body = mem_zalloc(MEM_TEST, BUS_MESSAGE_BYTES_MAX);
    const size_t sizes[] = {8,     100,    BUS_BODY_BYTES_MAX,    BUS_BODY_BYTES_MAX + 1,
                            70000, 500000, BUS_MESSAGE_BYTES_MAX, 9};
    uint64_t number = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < COUNT_OF(sizes); i++) {
        for (size_t at = 8; at < sizes[i]; at++)
            body[at] = (uint8_t)(at * 31 + i);
        number++;
        memcpy(body, &number, sizeof number);
        assert_int_equal(bus_send(f.at[0].bus, f.at[1].id, BUS_RAFT, BUS_RAFT_MESSAGE,
                                  bytes_view(body, sizes[i])),
                         RC_OK);
        bytes += sizes[i];
        if (i == 6) {
            for (uint32_t s = 0; s < 200 && f.at[1].messages < 7; s++)
                busfix_step(&f);
            assert_true(
                bytes_equal(buf_bytes(&f.at[1].last), bytes_view(body, BUS_MESSAGE_BYTES_MAX)));
        }
    }
    busfix_steps(&f, 50);
    assert_int_equal(f.at[1].messages, COUNT_OF(sizes));
    assert_int_equal(f.at[1].got_bytes, bytes);
    assert_int_equal(f.at[1].out_of_order, 0);
    struct bus_stats sent = busfix_stats(&f, 0);
    struct bus_stats got = busfix_stats(&f, 1);
    assert_int_equal(sent.messages_out, COUNT_OF(sizes));
    assert_int_equal(sent.queued_bytes, 0);
    assert_int_equal(got.assembly_bytes, 0);
    mem_free(MEM_TEST, body, BUS_MESSAGE_BYTES_MAX);
    busfix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_dial_and_one_link_stays),
        cmocka_unit_test(test_messages_arrive_whole_and_in_order),
    };
    backend = IO_EPOLL;
    int failed = cmocka_run_group_tests_name("epoll", tests, NULL, NULL);
    backend = IO_URING;
    return failed + cmocka_run_group_tests_name("io_uring", tests, NULL, NULL);
}

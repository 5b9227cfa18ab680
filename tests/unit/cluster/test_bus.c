/* Links between buses over real sockets, by io_uring and by epoll: coming up, messages, limits of queues,
 * links that break, duplicates. Plain text; test_bus_refusals.c has who is not let in. */
#include "tests/unit/cluster/busfix.h"

#include <stdlib.h>

static enum io_kind backend; /* of the group that runs */

static void test_both_dial_and_one_link_stays(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_or_skip(&f, backend);
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
    busfix_open_linked(&f, backend, 0, 1);
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

static void test_four_nodes_all_to_all(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_or_skip(&f, backend);
    busfix_plain(&f, 4);
    for (uint32_t a = 0; a < 4; a++)
        for (uint32_t b = 0; b < 4; b++)
            if (a != b) busfix_peer(&f, a, b);
    busfix_steps(&f, 200);
    for (uint32_t a = 0; a < 4; a++) {
        assert_int_equal(busfix_stats(&f, a).links, 3);
        assert_int_equal(f.at[a].ups, 3);
        assert_int_equal(f.at[a].downs, 0);
    }
    busfix_close(&f);
}

/* Both begin to dial in the same moment, again and again: one link is left each time, on both sides the
 * same one, and it carries messages both ways. */
static void test_duplicates_are_settled_alike(void **state)
{
    (void)state;
    uint64_t duplicates = 0;
    for (uint32_t round = 0; round < 30; round++) {
        struct busfix f;
        busfix_open_or_skip(&f, backend);
        busfix_plain(&f, 2);
        busfix_peer(&f, 0, 1);
        /* The smaller id lets the larger one dial first: give it its head start away. */
        for (uint32_t i = 0; i < round; i++)
            bus_tick(f.at[0].bus, f.now_ms += 5);
        busfix_peer(&f, 1, 0);
        bus_tick(f.at[0].bus, f.now_ms += 100);
        bus_tick(f.at[1].bus, f.now_ms);
        busfix_steps(&f, 160);
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(f.at[i].ups, 1); /* nobody notices */
            assert_int_equal(busfix_stats(&f, i).links, 1);
            assert_int_equal(f.at[i].downs, 0);
            duplicates += busfix_stats(&f, i).duplicates;
            assert_int_equal(bus_send(f.at[i].bus, f.at[1 - i].id, BUS_HEALTH, 1, BYTES_LIT("hi")),
                             RC_OK);
        }
        assert_true(bus_find(f.at[0].bus, f.at[1].id)->dialled !=
                    bus_find(f.at[1].bus, f.at[0].id)->dialled);
        busfix_steps(&f, 20);
        assert_int_equal(f.at[0].messages, 1);
        assert_int_equal(f.at[1].messages, 1);
        busfix_close(&f);
    }
    assert_true(duplicates > 0); /* or this test has not seen what it is about */
}

static void test_urgent_messages_overtake(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_linked(&f, backend, 0, 1);
    uint8_t *body = mem_zalloc(MEM_TEST, BUS_MESSAGE_BYTES_MAX);
    assert_int_equal(
        bus_send(f.at[0].bus, f.at[1].id, BUS_RAFT, 1, bytes_view(body, BUS_MESSAGE_BYTES_MAX)),
        RC_OK);
    assert_int_equal(bus_send(f.at[0].bus, f.at[1].id, BUS_META, 1, BYTES_LIT("meta")), RC_OK);
    assert_int_equal(bus_send(f.at[0].bus, f.at[1].id, BUS_HEALTH, 1, BYTES_LIT("ping")), RC_OK);
    for (uint32_t i = 0; i < 200 && f.at[1].messages < 3; i++)
        busfix_step(&f);
    assert_int_equal(f.at[1].messages, 3);
    assert_int_equal(f.at[1].last_channel, BUS_RAFT);
    assert_int_equal(f.at[1].last.len, BUS_MESSAGE_BYTES_MAX);
    mem_free(MEM_TEST, body, BUS_MESSAGE_BYTES_MAX);
    busfix_close(&f);
}

static void test_queues_are_bounded(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_linked(&f, backend, 0, 1);
    size_t size = 100000;
    uint8_t *body = mem_zalloc(MEM_TEST, size);
    uint32_t taken = 0;
    enum rc rc = RC_OK;
    while ((rc = bus_send(f.at[0].bus, f.at[1].id, BUS_META, 1, bytes_view(body, size))) == RC_OK)
        assert_true(++taken < 100); /* no turn in between: nothing leaves */
    assert_int_equal(rc, RC_FULL);
    struct bus_stats stats = busfix_stats(&f, 0);
    assert_true(stats.queued_bytes <= BUS_QUEUE_BYTES_MAX);
    assert_true(stats.queued_bytes > BUS_QUEUE_BYTES_MAX - size);
    assert_int_equal(stats.dropped_full, 1);
    /* Another lane has room, until its count of messages is full. */
    uint32_t urgent = 0;
    while ((rc = bus_send(f.at[0].bus, f.at[1].id, BUS_HEALTH, 1, BYTES_LIT("x"))) == RC_OK)
        urgent++;
    assert_int_equal(rc, RC_FULL);
    assert_int_equal(urgent, BUS_QUEUE_MESSAGES_MAX);
    assert_int_equal(
        bus_send(f.at[0].bus, f.at[1].id, BUS_HEALTH, 1, bytes_view(body, BUS_BODY_BYTES_MAX + 1)),
        RC_TOOBIG);
    for (uint32_t i = 0; i < 500 && f.at[1].messages < taken + urgent; i++)
        busfix_step(&f);
    assert_int_equal(f.at[1].messages, taken + urgent);
    assert_int_equal(busfix_stats(&f, 0).queued_messages, 0);
    mem_free(MEM_TEST, body, size);
    busfix_close(&f);
}

static void test_no_memory_for_a_message(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_linked(&f, backend, 0, 1);
    mem_fault_arm(1);
    assert_int_equal(bus_send(f.at[0].bus, f.at[1].id, BUS_RAFT, 1, BYTES_LIT("x")), RC_FULL);
    assert_true(mem_fault_disarm());
    assert_int_equal(busfix_stats(&f, 0).dropped_full, 1);
    busfix_close(&f);
}

static void test_what_is_down_takes_nothing(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_or_skip(&f, backend);
    busfix_plain(&f, 2);
    assert_int_equal(bus_send(f.at[0].bus, f.at[1].id, BUS_RAFT, 1, BYTES_LIT("x")), RC_CLOSED);
    busfix_peer(&f, 1, 0);
    assert_int_equal(bus_send(f.at[0].bus, f.at[1].id, BUS_RAFT, 1, BYTES_LIT("x")), RC_CLOSED);
    assert_int_equal(busfix_stats(&f, 0).dropped_down, 2);
    busfix_close(&f);
}

static void test_a_node_that_comes_again(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_linked(&f, backend, 1, 0);
    uint16_t port = bus_port(f.at[1].bus);
    busfix_stop(&f, 1);
    for (uint32_t i = 0; i < 100 && f.at[0].downs == 0; i++)
        busfix_step(&f);
    assert_int_equal(f.at[0].downs, 1);
    busfix_steps(&f, 1000); /* nobody listens: attempts grow apart */
    uint64_t failed = busfix_stats(&f, 0).dial_failed;
    assert_true(failed >= 4);
    assert_true(failed <= 12);
    struct bus_opts opts = busfix_opts(&f, 1);
    opts.port = port;
    opts.incarnation = 2;
    busfix_start(&f, 1, &opts);
    for (uint32_t i = 0; i < 1100 && !busfix_linked(&f, 0, 1); i++)
        busfix_step(&f);
    assert_true(busfix_linked(&f, 0, 1));
    assert_int_equal(f.at[0].ups, 2);
    assert_int_equal(bus_find(f.at[0].bus, f.at[1].id)->incarnation, 2);
    busfix_close(&f);
}

/* The former life's connection still stands at our end when the next one says hello. */
static void test_a_new_life_replaces_the_former(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_or_skip(&f, backend);
    busfix_plain(&f, 1);
    struct buf out;
    int fd[3];
    for (uint32_t life = 1; life <= 2; life++) {
        fd[life] = raw_open(&f, 0);
        struct bus_hello h = raw_hello(&f, fd[life], 1);
        h.incarnation = life;
        buf_init(&out, MEM_TEST);
        raw_put_hello(&out, &h);
        raw_send_buf(fd[life], &out);
        assert_true(raw_await(&f, fd[life], BUS_HELLO_OK, NULL));
        assert_int_equal(f.at[0].ups, life);
        assert_int_equal(f.at[0].downs, life - 1);
        assert_int_equal(bus_find(f.at[0].bus, f.at[1].id)->incarnation, life);
    }
    assert_false(raw_await(&f, fd[1], BUS_PONG, NULL)); /* the former one is closed */
    assert_int_equal(busfix_stats(&f, 0).links, 1);
    raw_close(fd[1]);
    raw_close(fd[2]);
    busfix_close(&f);
}

static void test_silence_ends_a_link_and_a_pause_does_not(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_linked(&f, backend, 0, 1);
    busfix_steps(&f, 3000); /* 15 s without a message: pings keep it */
    assert_true(busfix_linked(&f, 0, 1));
    assert_int_equal(f.at[0].ups, 1);
    f.now_ms += 60000; /* all were stopped */
    busfix_steps(&f, 100);
    assert_int_equal(f.at[0].downs, 0);
    struct bus *mute = f.at[1].bus;
    f.at[1].bus = NULL; /* it answers pings only when it is ticked … */
    struct buf out;
    int fd = raw_open(&f, 0); /* … and this one never */
    struct bus_hello h = raw_hello(&f, fd, 2);
    buf_init(&out, MEM_TEST);
    raw_put_hello(&out, &h);
    raw_send_buf(fd, &out);
    assert_true(raw_await(&f, fd, BUS_PING, NULL));
    assert_false(raw_await(&f, fd, 77, NULL));
    assert_int_equal(busfix_refused(&f, 0, BUS_REFUSED_SILENT), 1);
    raw_close(fd);
    f.at[1].bus = mute;
    busfix_close(&f);
}

static void test_what_takes_nothing_is_closed(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_or_skip(&f, backend);
    busfix_plain(&f, 1);
    struct buf out;
    int fd = raw_open(&f, 0);
    struct bus_hello h = raw_hello(&f, fd, 2);
    buf_init(&out, MEM_TEST);
    raw_put_hello(&out, &h);
    raw_send_buf(fd, &out);
    assert_true(raw_await(&f, fd, BUS_HELLO_OK, NULL));
    uint8_t *body = mem_zalloc(MEM_TEST, BUS_MESSAGE_BYTES_MAX);
    uint64_t lost = 0;
    for (uint32_t i = 0; i < 3000 && f.at[0].downs == 0; i++) {
        struct buf pong;
        buf_init(&pong, MEM_TEST);
        bus_frame_put(&pong, &(struct bus_head){.version = 1, .type = BUS_PONG},
                      bytes_view(NULL, 0));
        if (i % 100 == 0) raw_send(fd, pong.data, pong.len); /* it talks, but it does not read */
        buf_free(&pong);
        (void)bus_send(f.at[0].bus, f.at[2].id, BUS_META, 1,
                       bytes_view(body, BUS_MESSAGE_BYTES_MAX));
        assert_true(busfix_stats(&f, 0).queued_bytes <= BUS_QUEUE_BYTES_MAX);
        busfix_step(&f);
    }
    lost = busfix_stats(&f, 0).dropped_lost;
    assert_int_equal(f.at[0].downs, 1);
    assert_int_equal(busfix_refused(&f, 0, BUS_REFUSED_SILENT), 1);
    assert_true(lost > 0);
    mem_free(MEM_TEST, body, BUS_MESSAGE_BYTES_MAX);
    raw_close(fd);
    busfix_close(&f);
}

static void test_removing_a_peer(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_linked(&f, backend, 1, 0);
    bus_peer_remove(f.at[0].bus, f.at[1].id);
    assert_int_equal(f.at[0].downs, 0); /* never inside the call */
    assert_null(bus_find(f.at[0].bus, f.at[1].id));
    assert_int_equal(bus_send(f.at[0].bus, f.at[1].id, BUS_RAFT, 1, BYTES_LIT("x")), RC_CLOSED);
    busfix_steps(&f, 400);
    assert_int_equal(f.at[0].downs, 1);
    assert_int_equal(f.at[1].downs, 1);
    assert_int_equal(busfix_stats(&f, 0).links, 0);
    assert_int_equal(busfix_stats(&f, 1).links, 0);
    busfix_close(&f);
}

static void test_a_peer_moves(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_or_skip(&f, backend);
    busfix_plain(&f, 3);
    /* At this address is another node than we think: refused, until we know better. */
    assert_int_equal(bus_peer_add(f.at[0].bus, f.at[1].id, f.at[2].address), RC_OK);
    busfix_await_refused(&f, 0, BUS_REFUSED_NODE, 1);
    assert_null(bus_find(f.at[0].bus, f.at[1].id));
    assert_int_equal(bus_peer_add(f.at[0].bus, f.at[1].id, f.at[1].address), RC_OK);
    busfix_link(&f, 0, 1);
    busfix_close(&f);
}

static void test_addresses(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_or_skip(&f, backend);
    busfix_plain(&f, 1);
    static const char *const bad[] = {"",           "127.0.0.1", "127.0.0.1:",       ":70",
                                      "name:70",    "1.2.3.4:0", "1.2.3.4:65536",    "1.2.3.4:-1",
                                      "0.0.0.0:70", "*:70",      "127.0.0.1.1.1:70", "[]:70"};
    for (uint32_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(bus_peer_add(f.at[0].bus, f.at[1].id, bad[i]), RC_INVALID);
    static const char *const good[] = {"127.0.0.1:1", "::1:7000", "[::1]:7000"};
    for (uint32_t i = 0; i < COUNT_OF(good); i++)
        assert_int_equal(bus_peer_add(f.at[0].bus, f.at[1].id, good[i]), RC_OK);
    assert_int_equal(bus_peer_add(f.at[0].bus, f.at[0].id, good[0]), RC_INVALID);
    assert_int_equal(bus_meet(f.at[0].bus, bad[0], 100), RC_INVALID);
    busfix_close(&f);
}

static void test_meeting_a_node_of_another_cluster(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_or_skip(&f, backend);
    for (uint32_t i = 0; i < 2; i++) {
        f.at[i].with_admit = true;
        struct bus_opts opts = busfix_opts(&f, i);
        opts.cluster.bytes[5] = (uint8_t)i;
        busfix_start(&f, i, &opts);
    }
    assert_int_equal(bus_meet(f.at[0].bus, f.at[1].address, 5000), RC_OK);
    busfix_link(&f, 0, 1);
    assert_int_equal(bus_find(f.at[0].bus, f.at[1].id)->cluster.bytes[5], 1);
    /* It has joined ours: links that are of both clusters by now stay, of none go. */
    bus_set_cluster(f.at[1].bus, (struct topo_cluster_id){{1}});
    busfix_steps(&f, 50);
    assert_true(busfix_linked(&f, 0, 1));
    bus_peer_remove(f.at[0].bus, f.at[1].id);
    busfix_steps(&f, 50);
    f.at[1].refuse_all = true;
    bus_set_cluster(f.at[1].bus, (struct topo_cluster_id){{9}});
    assert_int_equal(bus_meet(f.at[0].bus, f.at[1].address, 2000), RC_OK);
    busfix_steps(&f, 1000);
    assert_false(busfix_linked(&f, 0, 1));
    assert_true(busfix_refused(&f, 1, BUS_REFUSED_CLUSTER) > 0);
    assert_true(busfix_refused(&f, 0, BUS_REFUSED_BY_PEER) > 0);
    uint64_t dialled = busfix_stats(&f, 0).dialled;
    busfix_steps(&f, 400);
    assert_int_equal(busfix_stats(&f, 0).dialled, dialled); /* given up */
    busfix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_dial_and_one_link_stays),
        cmocka_unit_test(test_messages_arrive_whole_and_in_order),
        cmocka_unit_test(test_four_nodes_all_to_all),
        cmocka_unit_test(test_duplicates_are_settled_alike),
        cmocka_unit_test(test_urgent_messages_overtake),
        cmocka_unit_test(test_queues_are_bounded),
        cmocka_unit_test(test_no_memory_for_a_message),
        cmocka_unit_test(test_what_is_down_takes_nothing),
        cmocka_unit_test(test_a_node_that_comes_again),
        cmocka_unit_test(test_a_new_life_replaces_the_former),
        cmocka_unit_test(test_silence_ends_a_link_and_a_pause_does_not),
        cmocka_unit_test(test_what_takes_nothing_is_closed),
        cmocka_unit_test(test_removing_a_peer),
        cmocka_unit_test(test_a_peer_moves),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_meeting_a_node_of_another_cluster),
    };
    backend = IO_EPOLL;
    int failed = cmocka_run_group_tests_name("epoll", tests, NULL, NULL);
    backend = IO_URING;
    return failed + cmocka_run_group_tests_name("io_uring", tests, NULL, NULL);
}

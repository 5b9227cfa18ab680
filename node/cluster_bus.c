/* From directives to the options of the bus. Its TLS is that of tls-cert-file and its kin, and whether it
 * speaks TLS is tls-cluster's to say: left alone, it does if there are certificates, and without any it stays
 * on the loopback interface. */
#include "node/cluster_bus.h"

#include <stdio.h>

#include "node/cluster.h"
#include "node/config.h"
#include "shard/base/log.h"
#include "shard/rt/sock.h"
#include "shard/rt/tls.h"

static const char *binds[CONFIG_BIND_MAX];
static char announce[RAFT_ADDRESS_BYTES_MAX];
static struct tls_context *tls; /* the bus has it: the ctl thread's while that runs */
static bool reload, speaks_tls; /* worker 0's */

uint16_t cluster_bus_port(void)
{
    return (uint16_t)(config.cluster_port != 0 ? config.cluster_port : config.port + 10000);
}

/* "no" that somebody wrote is another one than the preset: it was asked for. */
static enum bus_tls_wish wish(void)
{
    if (config.tls_cluster) return BUS_TLS_YES;
    return config.tls_cluster_given ? BUS_TLS_NO : BUS_TLS_UNSET;
}

static uint32_t take_binds(void)
{
    bool own = config.cluster_bus_bind_count > 0;
    uint32_t count = own ? config.cluster_bus_bind_count : config.bind_count;
    for (uint32_t i = 0; i < count; i++)
        binds[i] = own ? config.cluster_bus_bind[i] : config.bind[i];
    return count;
}

/* Where others can dial this node, if that can be known: an address that names one place. */
static void take_announce(uint32_t binds_count)
{
    const char *ip = config.cluster_announce_ip;
    if (ip[0] == '\0' && binds_count > 0) ip = binds[0][0] == '-' ? binds[0] + 1 : binds[0];
    enum sock_scope scope = sock_scope_of(ip);
    uint32_t port = config.cluster_announce_bus_port;
    announce[0] = '\0';
    if (scope == SOCK_NO_ADDRESS || scope == SOCK_ANY) return;
    (void)snprintf(announce, sizeof announce, strchr(ip, ':') != NULL ? "[%s]:%u" : "%s:%u", ip,
                   port != 0 ? port : cluster_bus_port());
}

static struct tls_context *read_tls(char *why_out, size_t why_bytes)
{
    struct tls_context *made = NULL;
    const struct config_tls *t = &config.tls;
    const struct tls_files files = {.cert = t->cert,
                                    .key = t->key,
                                    .key_pass = t->key_pass,
                                    .client_cert = t->client_cert,
                                    .client_key = t->client_key,
                                    .client_key_pass = t->client_key_pass,
                                    .ca_file = t->ca_file,
                                    .ca_dir = t->ca_dir,
                                    .ciphersuites = t->ciphersuites};
    return tls_context_new(&files, &made, why_out, why_bytes) == RC_OK ? made : NULL;
}

bool cluster_bus_settings(struct bus_opts *out, char *why_out, size_t why_bytes)
{
    const struct config_tls *t = &config.tls;
    uint32_t count = take_binds();
    bool files =
        t->cert[0] != '\0' && t->key[0] != '\0' && (t->ca_file[0] != '\0' || t->ca_dir[0] != '\0');
    enum bus_mode mode = bus_mode_of(wish(), files, binds, count, why_out, why_bytes);
    if (mode == BUS_MODE_REFUSED) return false;
    if (mode == BUS_MODE_TLS && (tls = read_tls(why_out, why_bytes)) == NULL) return false;
    speaks_tls = tls != NULL;
    reload = false;
    take_announce(count);
    *out = (struct bus_opts){.announce = announce,
                             .binds = binds,
                             .binds_count = count,
                             .port = cluster_bus_port(),
                             .tls = tls,
                             .tls_name_pattern = config.tls_cluster_name,
                             .plain_anywhere = wish() == BUS_TLS_NO};
    return true;
}

/* ---- certificates that change while it runs: read by worker 0, taken by the ctl thread */

struct tls_post {
    struct loop_post post;
    struct tls_context *tls;
};

static void tls_arrives(struct loop_post *post, struct loop *l)
{
    struct tls_post *p = container_of(post, struct tls_post, post);
    bus_set_tls(loop_bus(l), p->tls);
    tls_context_free(tls);
    tls = p->tls;
    mem_free(MEM_CLUSTER, p, sizeof *p);
}

void cluster_bus_reload(void)
{
    reload = true;
}

void cluster_bus_cron(void)
{
    char why[256] = "";
    if (!reload || !speaks_tls) return;
    reload = false;
    struct tls_context *made = read_tls(why, sizeof why);
    if (made == NULL) {
        log_warning("bus", "certificates are not changed: %s", why);
        return;
    }
    struct tls_post *p = mem_zalloc(MEM_CLUSTER, sizeof *p);
    *p = (struct tls_post){.post.run = tls_arrives, .tls = made};
    if (cluster_post(&p->post)) {
        log_notice("bus", "certificates were read anew: links that begin from now on use them");
        return;
    }
    tls_context_free(made);
    mem_free(MEM_CLUSTER, p, sizeof *p);
}

void cluster_bus_free(void)
{
    tls_context_free(tls);
    tls = NULL;
}

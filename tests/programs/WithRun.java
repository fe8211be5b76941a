import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;

/**
 * Asks as programs ask that know of no proxy and no certificate authority but by their
 * environment. Usage: WithRun.java ORIGIN…
 */
public class WithRun {
    public static void main(String[] origins) throws Exception {
        for (String origin : origins) {
            try (var body = new URI(origin + "/text?by=URL").toURL().openStream()) {
                check(new String(body.readAllBytes(), StandardCharsets.UTF_8));
            }
            var request = HttpRequest.newBuilder(new URI(origin + "/text?by=HttpClient")).build();
            var client = HttpClient.newHttpClient();
            check(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
        }
        // As libraries open it: without a password, with an empty one, by its format.
        var path = Path.of(System.getProperty("javax.net.ssl.trustStore"));
        for (String type : new String[] {"PKCS12", KeyStore.getDefaultType()}) {
            for (char[] password : new char[][] {null, {}}) {
                var store = KeyStore.getInstance(type);
                try (var file = Files.newInputStream(path)) {
                    store.load(file, password);
                }
                for (var aliases = store.aliases(); aliases.hasMoreElements();) {
                    if (!store.isCertificateEntry(aliases.nextElement())) {
                        throw new AssertionError("an entry is not trusted");
                    }
                }
                System.out.println("roots " + store.size());
            }
        }
    }

    private static void check(String text) {
        if (!text.equals("a text\n")) {
            throw new AssertionError(text);
        }
    }
}

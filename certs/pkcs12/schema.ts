import 'reflect-metadata'
import { EncryptedContentInfo } from '@peculiar/asn1-cms'
import { AsnProp, AsnPropTypes, AsnType, AsnTypeTypes, OctetString } from '@peculiar/asn1-schema'
import { AlgorithmIdentifier } from '@peculiar/asn1-x509'

/** What the library has no schema of. */

/** RFC 5652 §8. */
export class EncryptedData {
  version = 0
  encryptedContentInfo = new EncryptedContentInfo()
}

/** RFC 7292 appendix C: the parameters of all ciphers that are named there. */
export class PbeParameters {
  salt = new OctetString()
  iterations = 0
}

/** RFC 8018 appendix A.4. */
export class Pbes2Parameters {
  keyDerivationFunc = new AlgorithmIdentifier()
  encryptionScheme = new AlgorithmIdentifier()
}

export const ID_HMAC_WITH_SHA1 = '1.2.840.113549.2.7'

/** RFC 8018 appendix A.2, with a salt that is given. The length of the key is the cipher's anyway. */
export class Pbkdf2Parameters {
  salt = new OctetString()
  iterations = 0
  keyLength = 0
  prf = new AlgorithmIdentifier({ algorithm: ID_HMAC_WITH_SHA1 })
}

type Member = AsnPropTypes | (new () => object)

/** What decorators would do, which type stripping does not know. */
function sequence(type: new () => object, members: Readonly<Record<string, Member>>, optional: typeof members = {}): void {
  AsnType({ type: AsnTypeTypes.Sequence })(type)
  for (const [name, member] of Object.entries(members)) AsnProp({ type: member })(type.prototype, name)
  for (const [name, member] of Object.entries(optional)) AsnProp({ type: member, optional: true })(type.prototype, name)
}

sequence(EncryptedData, { version: AsnPropTypes.Integer, encryptedContentInfo: EncryptedContentInfo })
sequence(PbeParameters, { salt: OctetString, iterations: AsnPropTypes.Integer })
sequence(Pbes2Parameters, { keyDerivationFunc: AlgorithmIdentifier, encryptionScheme: AlgorithmIdentifier })
sequence(
  Pbkdf2Parameters,
  { salt: OctetString, iterations: AsnPropTypes.Integer },
  { keyLength: AsnPropTypes.Integer, prf: AlgorithmIdentifier },
)
